"""Cost of a run before it starts, and the bill afterwards."""
