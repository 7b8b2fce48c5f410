"""How many draws and steps a pilot takes: what plans and costs count too."""

from __future__ import annotations

from spectro.sampling.mala import Mala
from spectro.sampling.pilot.posterior_moments import NUM_DAMAGE_DRAWS
from spectro.sampling.reweighted import Sampler
from spectro.sampling.samplers import Gaussian

NUM_PILOT_DRAWS = 32
"""P where the pilot decides who needs a chain."""
NUM_JUDGING_DRAWS = 128
"""P where it judges chains: the error of E[ΔL] is then a tenth of the posterior's deviation."""
MIN_START_STEPS = 8
"""Steps on the way from the Gaussian into the posterior, at least."""
NUM_TRIAL_STEPS = 16
"""Metropolis steps whose mean acceptance is taken, after decorrelation from the start."""


def num_pilot_draws(sampler: Sampler, *, listed: bool) -> int:
    """P: how many draws a pilot takes of every component."""
    if isinstance(sampler, Gaussian) and not listed:
        return NUM_DAMAGE_DRAWS
    return NUM_PILOT_DRAWS if isinstance(sampler, Gaussian | Mala) else NUM_JUDGING_DRAWS
