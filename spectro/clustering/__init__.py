"""Clusters of tokens that the model's components respond to alike."""
