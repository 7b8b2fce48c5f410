"""Figures for papers: plain arrays in, matplotlib figures out, a module for each kind (ADR 036)."""
