"""Susceptibilities from running sums, with errors and reliability."""
