"""How to spend a budget: tokens or draws, γ, nβ and sampler, judged by what a pilot measured."""
