"""Sampler bias: how far chains miss the posterior that they claim to sample (design §2).

A finite step, a preconditioner that adapts and minibatch noise each inflate or tilt a chain's
stationary law. Mean and standard deviation of ΔL are compared with the pilot's (`pilot.py`): from
importance weights where at least half of the pilot's draws count, else from Metropolis-adjusted
chains. The mean alone is not enough: where ΔL is nearly linear in the weights it stays while the
deviation, and χ with it, is off by a factor. Where neither is known the bias is unknown, and says
so. γ⟨δ²⟩ is no evidence: it stays 1 while E[ΔL] is off by most of its size (ADR 064).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.effective_sample_size import effective_sample_size
from spectro.sampling.pilot.importance_weights import deviation_error
from spectro.sampling.pilot.posterior_moments import PosteriorMoments

SURE_Z = 3.0
"""A bias in its Monte-Carlo errors beyond which it is not chance …"""
MIN_BIAS = 0.3
"""… and in standard deviations of ΔL under the posterior, from which it matters (ours)."""
MAX_ERROR = 0.2
"""Error in the same deviations above which half a deviation or so would not be seen (ours)."""
MIN_SPREAD = 0.25
"""Deviation of ΔL over the posterior's, less 1, from which it matters (ours)."""


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
    """Source of the reference: `weights` or `metropolis`."""
    spread: float = 1.0
    """Standard deviation of ΔL of the chains over that of the posterior."""
    spread_error: float = 0.0
    """Its Monte-Carlo standard error."""

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
        return (abs(self.z) > SURE_Z and abs(self.deviations) >= MIN_BIAS) or self.spread_matters

    @property
    def spread_matters(self) -> bool:
        """The same of the standard deviation of ΔL."""
        off = abs(self.spread - 1)
        return off > SURE_Z * self.spread_error and off >= MIN_SPREAD

    @property
    def resolved(self) -> bool:
        """Whether a bias that matters would have been seen."""
        return self.error_deviations <= MAX_ERROR

    def _in_deviations(self, nats: float) -> float:
        return nats / self.posterior_deviation if self.posterior_deviation > 0 else math.nan

    def as_dict(self) -> dict[str, float | str | bool | None]:
        """As metadata and reports have it; NaN becomes None."""
        names = (
            "nats", "error_nats", "deviations", "error_deviations", "spread", "spread_error",
        )  # fmt: skip
        values = {name: getattr(self, name) for name in names}
        known = {name: None if math.isnan(v) else float(v) for name, v in values.items()}
        judged = {"matters": self.matters, "resolved": self.resolved}
        return {**known, **judged, "source": self.source}


def sampler_bias(
    chains: Sequence[ComponentChain], exact: PosteriorMoments | None
) -> SamplerBias | None:
    """Judge all chains of a component; None for independent draws, or where it is not known."""
    if exact is None or chains[0].independent or not exact.source:
        return None
    difference = float(np.concatenate([c.delta_loss for c in chains]).mean()) - exact.delta_loss
    spread, spread_error = _spread(chains, exact)
    return SamplerBias(
        nats=difference,
        error_nats=math.hypot(exact.delta_loss_error, mean_error(chains)),
        posterior_deviation=exact.delta_loss_deviation,
        source=exact.source,
        spread=spread,
        spread_error=spread_error,
    )


def _spread(chains: Sequence[ComponentChain], exact: PosteriorMoments) -> tuple[float, float]:
    """Standard deviation of ΔL over the posterior's, and its error; NaN where not known."""
    shortest = min(len(chain.delta_loss) for chain in chains)
    if shortest < 2 or not exact.delta_loss_deviation > 0:
        return math.nan, math.nan
    trace_CT = np.stack([chain.delta_loss[:shortest] for chain in chains])
    deviation = float(np.sqrt(trace_CT.var(axis=1, ddof=1).mean()))
    own = deviation_error(trace_CT, effective_sample_size(chains))
    ratio = deviation / exact.delta_loss_deviation
    theirs = exact.delta_loss_deviation_error / exact.delta_loss_deviation
    relative = math.hypot(own / deviation, theirs) if deviation > 0 else math.nan
    return ratio, ratio * relative


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
