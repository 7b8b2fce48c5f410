"""Upsampled runs: predicted susceptibilities as units of work."""
