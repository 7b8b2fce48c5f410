"""Hydra entry points: parse, build, run."""
