"""Formats: what lies where under a run's URI, and how it is written once and read back."""
