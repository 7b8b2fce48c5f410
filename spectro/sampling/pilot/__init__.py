"""Pilot of a group: moments of each posterior, effective sample size, tuned steps."""
