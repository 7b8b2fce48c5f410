"""SQL over a run, and look-ups of tokens and clusters."""
