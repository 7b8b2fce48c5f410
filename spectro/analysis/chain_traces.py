"""Statistics of a component's ΔL traces: autocorrelation, ESS, R̂, trend, spikes.

Pooled over the chains of a component, which are replicates.
Shapes: C chains, T draws of a chain, K lags.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.stats

from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.effective_sample_size import effective_sample_size
from spectro.sampling.pilot.damage import damage
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.sampling.pilot.sampler_bias import SamplerBias, sampler_bias
from spectro.susceptibility.reliability import gelman_rubin, spearman_brown

FloatArray = npt.NDArray[np.float64]
MAD_TO_SD = 1.4826
"""Standard deviation over median absolute deviation of a Gaussian."""
HEAD, TAIL = 0.1, 0.5
"""Shares of a chain in Geweke's test (1992): first tenth, second half."""
LEAST_DRAWS = 8
"""Least draws of a chain for statements on its trend."""
MOST_CORRELATION = 0.95
"""Largest lag-1 correlation that tests assume."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """A difference along a chain, pooled over chains."""

    size: float
    """In standard deviations of the draws around the trend; upward is positive."""
    p: float
    """p-value; 1 if unknown."""


NO_SHIFT = Shift(size=0.0, p=1.0)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the run that remedies name."""

    num_draws: int
    """`chain.num_draws`."""
    num_burnin_steps: int
    """`chain.num_burnin_steps`."""
    gamma: float
    """`sampler.gamma`."""
    nbeta: float
    """`sampler.nbeta`."""
    step_size: float
    """`sampler.step_size`; NaN for a sampler without steps."""


@dataclass(frozen=True, kw_only=True)
class ComponentTraces:
    """Stored chains of a component, and statistics of its column; NaN if unknown."""

    name: str
    """`full` has no column."""
    independent: bool
    chains: tuple[int, ...]
    """[C]."""
    delta_loss: tuple[FloatArray, ...]
    """ΔL per draw, nats, by chain, each [T]."""
    weight: tuple[FloatArray, ...]
    """Importance weights, each [T]; ones for stepped draws."""
    effective_sample_size: float
    """Effective sample size (`sampling/pilot/sampler_bias.py`)."""
    steps_between_draws: int = 0
    """Thinning interval of stepped chains."""
    corrected: bool = False
    """Whether steps are Metropolis-adjusted."""
    bias: SamplerBias | None = None
    """Sampler bias of E[ΔL]; None if unknown, and for independent draws."""
    damage: float = math.nan
    """E[ΔL] as a share of ln V − L(w*): 1 is a uniform guess."""
    gamma_needed: float = math.nan
    """γ at which draws lose less than half, if they lose more."""
    reliability: float = math.nan
    """Split-half reliability of the column: of `half_share` of the draws."""
    centred_reliability: float = math.nan
    """Split-half reliability of the row-centred column."""
    num_sets: int = 1
    """Number of sets of chains: token shards with own draws, or 1."""
    split_reliability: tuple[float, ...] = ()
    """`reliability` by split of the chains; empty if no moments are stored."""

    @property
    def num_draws(self) -> int:
        """Draws of all chains."""
        return sum(len(trace) for trace in self.delta_loss)

    @property
    def draws_of_token(self) -> float:
        """Draws per token, mean over token shards."""
        return self.num_draws / self.num_sets

    @property
    def correlation_time(self) -> float:
        """Draws over ESS; 1 for independent draws."""
        return 1.0 if self.independent else self.num_draws / self.effective_sample_size

    @property
    def half_share(self) -> float:
        """Share of a set's chains in either half: ⌊C/2⌋ of C (susceptibility/reliability.py)."""
        num_chains = len(self.chains) // self.num_sets
        return num_chains // 2 / num_chains if num_chains > 1 else 0.5

    @property
    def known_reliability(self) -> float:
        """Reliability of one half: row-centred if known, else raw."""
        return self.centred_reliability if self.is_centred else self.reliability

    @property
    def is_centred(self) -> bool:
        """Whether the row-centred reliability is known."""
        return not math.isnan(self.centred_reliability)

    @property
    def whole_reliability(self) -> float:
        """Reliability of all draws, from `known_reliability`; NaN if not positive."""
        return self.predicted(self.known_reliability, 1.0)

    def predicted(self, reliability: float, factor: float) -> float:
        """Spearman-Brown reliability of `factor` times all draws, from that of one half.

        In [0, 1]; NaN for r ≤ 0.
        """
        if not reliability > 0:
            return math.nan
        return min(1.0, float(spearman_brown(reliability, factor / self.half_share)))


def traces_of(
    name: str,
    chains: Mapping[int, ComponentChain],
    exact: PosteriorMoments | None,
    column: Mapping[str, Any],
) -> ComponentTraces:
    """Traces of one component; `column` are the statistics of its column of χ."""
    own = list(chains.values())
    finite = _finite(own)
    delta_loss = np.concatenate([chain.delta_loss for chain in own])
    weight = np.concatenate([chain.weight for chain in own])
    mean = float(weight @ delta_loss / weight.sum())
    return ComponentTraces(
        name=name,
        independent=own[0].independent,
        chains=tuple(chains),
        delta_loss=tuple(chain.delta_loss for chain in own),
        weight=tuple(chain.weight for chain in own),
        effective_sample_size=effective_sample_size(own) if finite else math.nan,
        steps_between_draws=own[0].steps_between_draws,
        corrected=own[0].corrected,
        bias=sampler_bias(own, exact) if finite else None,
        damage=damage(mean, exact.headroom) if finite and exact else math.nan,
        gamma_needed=math.nan if exact is None else exact.gamma_needed,
        **column,
    )


def autocorrelation(traces: Sequence[FloatArray], num_lags: int) -> FloatArray:
    """Autocorrelation ρ_0 … ρ_K, K ≤ `num_lags`, [K + 1]; NaN if no chain moves.

    Autocovariances are summed over chains before division: one chain's are noise.
    """
    centred = [trace - trace.mean() for trace in traces]
    shortest = min(len(trace) for trace in centred)
    lags = range(min(num_lags + 1, shortest))
    sums = [sum(float(x[: len(x) - k] @ x[k:]) for x in centred) for k in lags]
    return np.array(sums) / sums[0] if sums[0] > 0 else np.full(len(sums), math.nan)


def correlation_time(traces: Sequence[FloatArray]) -> float:
    """Autocorrelation time τ = 1 + 2 Σ ρ_k, truncated by Geyer's rule (1992); ≥ 1."""
    rho_K = autocorrelation(traces, min(len(trace) for trace in traces) - 1)
    if not np.isfinite(rho_K).all():
        return 1.0
    pairs = [rho_K[k] + rho_K[k + 1] for k in range(0, len(rho_K) - 1, 2)]
    positive = next((i for i, pair in enumerate(pairs) if pair <= 0), len(pairs))
    return max(1.0, 2.0 * float(sum(pairs[:positive])) - 1.0)


def cautious_time(traces: Sequence[FloatArray]) -> float:
    """Conservative τ for tests: at least that of ρ_1, bias-corrected, plus one error.

    Subtracting a chain's mean costs about (1 + 4ρ)/T of ρ_1 (Marriott & Pope 1954, Kendall 1954). τ
    of ρ_k = ρ^k is (1 + ρ)/(1 − ρ).
    """
    num_draws = min(len(trace) for trace in traces)
    rho_K = autocorrelation(traces, 1)
    if num_draws < LEAST_DRAWS or not np.isfinite(rho_K).all():
        return 1.0
    unbiased = (float(rho_K[1]) + 1 / num_draws) / (1 - 4 / num_draws)
    error = 1 / math.sqrt(sum(len(trace) for trace in traces))
    rho = min(max(unbiased + error, 0.0), MOST_CORRELATION)
    return max(correlation_time(traces), (1 + rho) / (1 - rho))


def rhat(traces: Sequence[FloatArray]) -> float:
    """R̂ (Gelman & Rubin 1992) of chains cut to the shortest; NaN for one chain, or no motion."""
    return gelman_rubin(traces)


def disagreement(traces: Sequence[FloatArray]) -> float:
    """p-value of equal chain means (analysis of variance with ESS T/τ); 1 if unknown.

    R̂ of few draws is far above 1 by chance.
    """
    num_chains, num_draws = len(traces), min(len(trace) for trace in traces)
    if num_chains < 2 or num_draws < LEAST_DRAWS:
        return 1.0
    cut_CT = np.stack([trace[:num_draws] for trace in traces])
    tau = cautious_time(list(cut_CT))
    effective = max(2.0, num_draws / tau)
    within = float(cut_CT.var(axis=1).mean()) / (1 - 1 / effective)
    between = float(cut_CT.mean(axis=1).var(ddof=1))
    if within <= 0:
        return 0.0 if between > 0 else 1.0
    freedom = num_chains - 1, num_chains * (effective - 1)
    return float(scipy.stats.f.sf(effective * between / within, *freedom))


def trend(traces: Sequence[FloatArray]) -> Shift:
    """Change along the best common straight line, first draw to last.

    The error is that of the residuals with their autocorrelation time: the trend itself would pass
    for correlation.
    """
    if min(len(trace) for trace in traces) < LEAST_DRAWS:
        return NO_SHIFT
    times = [np.linspace(-0.5, 0.5, len(trace)) for trace in traces]
    centred = [trace - trace.mean() for trace in traces]
    squares = sum(float(t @ t) for t in times)
    slope = sum(float(t @ x) for t, x in zip(times, centred, strict=True)) / squares
    residuals = [x - slope * t for t, x in zip(times, centred, strict=True)]
    return _shift(slope, 1 / squares, residuals, freedom_lost=len(traces) + 1)


def late_rise(traces: Sequence[FloatArray]) -> Shift:
    """Mean of the second half minus that of the first tenth (Geweke 1992)."""
    num_draws = min(len(trace) for trace in traces)
    if num_draws < LEAST_DRAWS:
        return NO_SHIFT
    head, tail = max(1, int(HEAD * num_draws)), int(TAIL * num_draws)
    firsts = np.stack([trace[:head] for trace in traces])
    lasts = [trace[len(trace) - tail :] for trace in traces]
    rise = float(np.mean([x.mean() for x in lasts]) - firsts.mean())
    residuals = [x - x.mean() for x in lasts]
    tau = cautious_time(residuals)
    inverse = (min(tau, head) / head / tau + 1 / tail) / len(traces)  # `_shift` multiplies by τ
    return _shift(rise, inverse, residuals, freedom_lost=len(traces))


def spikes(traces: Sequence[FloatArray], threshold: float) -> list[tuple[int, int]]:
    """(chain, draw) of draws more than `threshold` robust deviations from their chain's median."""
    if min(len(trace) for trace in traces) < LEAST_DRAWS:
        return []
    medians = [float(np.median(trace)) for trace in traces]
    gaps = [np.abs(trace - m) for trace, m in zip(traces, medians, strict=True)]
    scale = MAD_TO_SD * float(np.median(np.concatenate(gaps)))
    if scale <= 0:
        return []
    return [
        (c, int(t)) for c, gap in enumerate(gaps) for t in np.flatnonzero(gap > threshold * scale)
    ]


def mean_in_errors(traces: ComponentTraces) -> float:
    """Weighted mean over its Monte-Carlo error (from the ESS); NaN without one."""
    x, w = np.concatenate(traces.delta_loss), np.concatenate(traces.weight)
    mean = float(w @ x / w.sum())
    variance = float(w @ (x - mean) ** 2 / w.sum())
    known = variance > 0 and traces.effective_sample_size > 0
    return mean / math.sqrt(variance / traces.effective_sample_size) if known else math.nan


def more_data(reliability: float, wanted: float) -> float:
    """Factor of data needed for a reliability; inf without any signal."""
    if not 0 < reliability < 1:
        return math.inf if reliability <= 0 else 0.0
    return wanted * (1 - reliability) / (reliability * (1 - wanted))


def _shift(
    difference: float, inverse: float, residuals: list[FloatArray], *, freedom_lost: int
) -> Shift:
    """A difference with variance `inverse` · residual variance · τ."""
    num = sum(len(x) for x in residuals)
    tau = cautious_time(residuals)
    freedom = max(1.0, num / tau - freedom_lost)
    variance = sum(float(x @ x) for x in residuals) / max(1.0, num - freedom_lost * tau)
    if variance <= 0:
        return Shift(size=math.inf, p=0.0) if difference else NO_SHIFT
    t = abs(difference) / math.sqrt(variance * tau * inverse)
    p = 2 * float(scipy.stats.t.sf(t, freedom))
    return Shift(size=difference / math.sqrt(variance), p=p)


def _finite(chains: Sequence[ComponentChain]) -> bool:
    return all(np.isfinite(chain.delta_loss).all() for chain in chains)
