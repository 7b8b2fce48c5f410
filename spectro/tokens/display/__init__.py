"""Tokens as readable text."""
