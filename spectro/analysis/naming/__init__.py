"""Names of sets of tokens."""
