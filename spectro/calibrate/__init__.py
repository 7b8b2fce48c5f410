"""Calibration: how to spend a budget on tokens or draws, γ, nβ and sampler, from a pilot."""
