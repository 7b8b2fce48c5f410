"""Sparse autoencoders: released files, activations, features of sets of tokens (ADR 102)."""
