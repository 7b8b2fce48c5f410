"""Chains and draws of the posterior restricted to one component."""
