"""A run's tokens encoded by an autoencoder, and its clusters matched to features (ADR 102)."""
