"""Sampler bias: how far chains miss the posterior that they claim to sample (design §2).

A finite step, a preconditioner that adapts and minibatch noise each inflate or tilt a chain's
stationary law. The bias is that of E[ΔL], held against the pilot's value (`pilot.py`): from
importance weights where at least half of the pilot's draws count, else from Metropolis-adjusted
chains. Where neither is known the bias is unknown, and says so. γ⟨δ²⟩ is no evidence: it stays 1
while E[ΔL] is off by most of its size (ADR 064).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spectro.sampling.pilot import Moments
from spectro.sampling.recorder import ComponentChain
from spectro.sampling.weights import effective_number, effective_number_of_chain

SURE_Z = 3.0
"""A bias in its Monte-Carlo errors beyond which it is not chance …"""
MIN_BIAS = 0.3
"""… and in standard deviations of ΔL under the posterior, from which it matters (ours)."""
MAX_ERROR = 0.5
"""Error in the same deviations above which a bias that matters would not be seen (ours)."""


@dataclass(frozen=True, kw_only=True)
class SamplerBias:
    """Bias of E[ΔL] of one component's chains."""

    nats: float
    """Mean ΔL of the chains less E[ΔL] of the posterior."""
    error_nats: float
    """Monte-Carlo standard error of the difference, of both sides."""
    posterior_deviation: float
    """Standard deviation of ΔL under the posterior, nats."""
    source: str
    """What it is held against: `weights` or `metropolis`."""

    @property
    def z(self) -> float:
        """The bias in its errors."""
        return self.nats / self.error_nats if self.error_nats > 0 else math.nan

    @property
    def deviations(self) -> float:
        """The bias in standard deviations of ΔL under the posterior."""
        return self._in_deviations(self.nats)

    @property
    def error_deviations(self) -> float:
        """Its error in the same."""
        return self._in_deviations(self.error_nats)

    @property
    def matters(self) -> bool:
        """Whether it is beyond chance and large enough to change what is measured."""
        return abs(self.z) > SURE_Z and abs(self.deviations) >= MIN_BIAS

    @property
    def resolved(self) -> bool:
        """Whether a bias that matters would have been seen."""
        return self.error_deviations <= MAX_ERROR

    def _in_deviations(self, nats: float) -> float:
        return nats / self.posterior_deviation if self.posterior_deviation > 0 else math.nan

    def as_dict(self) -> dict[str, float | str | bool | None]:
        """As metadata and reports have it; NaN becomes None."""
        names = ("nats", "error_nats", "deviations", "error_deviations")
        values = {name: getattr(self, name) for name in names}
        known = {name: None if math.isnan(v) else float(v) for name, v in values.items()}
        judged = {"matters": self.matters, "resolved": self.resolved}
        return {**known, **judged, "source": self.source}


def sampler_bias(chains: Sequence[ComponentChain], exact: Moments | None) -> SamplerBias | None:
    """Judge all chains of a component; None for independent draws, or where it is not known."""
    if exact is None or chains[0].independent or not exact.source:
        return None
    difference = float(np.concatenate([c.delta_loss for c in chains]).mean()) - exact.delta_loss
    return SamplerBias(
        nats=difference,
        error_nats=math.hypot(exact.delta_loss_error, mean_error(chains)),
        posterior_deviation=exact.delta_loss_deviation,
        source=exact.source,
    )


def mean_error(chains: Sequence[ComponentChain]) -> float:
    """Monte-Carlo standard error of the mean ΔL of stepped chains, nats.

    The larger of two estimates: from the effective sample size within the chains, which a short
    chain takes for too large, and from the spread of the chains' means, which few chains give
    badly.
    """
    traces = [chain.delta_loss for chain in chains]
    within = float(np.mean([trace.var() for trace in traces])) / effective_sample_size(chains)
    if len(traces) < 2:
        return math.sqrt(within)
    between = float(np.var([trace.mean() for trace in traces], ddof=1)) / len(traces)
    return math.sqrt(max(within, between))


def effective_sample_size(chains: Sequence[ComponentChain]) -> float:
    """Independent draws that all chains of a component are worth, by their ΔL and weights."""
    if chains[0].independent:
        return effective_number(np.concatenate([chain.weight for chain in chains]))
    return sum(effective_number_of_chain(chain.delta_loss) for chain in chains)
