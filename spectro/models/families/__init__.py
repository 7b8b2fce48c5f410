"""Engines by model family: the pieces of a forward pass that each computes its own way."""
