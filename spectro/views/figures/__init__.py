"""Figures of a run, by kind: data read from storage, drawn by `views/drawing`."""
