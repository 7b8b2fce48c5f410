"""A whole run: configuration, units, goals, checks before it starts, execution."""
