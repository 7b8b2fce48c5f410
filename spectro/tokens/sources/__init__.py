"""Readers of token sources: folders, JSON lines, Parquet, indexed datasets, the hub."""
