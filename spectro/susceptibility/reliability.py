"""Error bars: standard error and split-half reliability from the per-chain sums (design §1).

Chains are the independent replicates. A *split* parts them into two disjoint halves, the
component's chains and the unrestricted ones alike, so that the halves share nothing but the
tokens; the reliability of a column is the correlation over tokens between the two estimates,
averaged over splits. It is the reliability of *half* the data (of ⌊C/2⌋ of C chains): a lower
bound for the column itself. The standard error is the delete-one-chain jackknife. Both are
accumulated as moments that merge across token shards, so no shard ever needs another.

Shapes: N tokens, C chains, H components, P splits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from spectro.susceptibility.estimator import ChainSums, EstimatorKind, susceptibility

FloatArray = npt.NDArray[np.float64]
MAX_SPLITS = 16
"""More splits of the same chains add next to nothing; the first in lexicographic order are used."""


@dataclass(frozen=True, kw_only=True)
class ColumnMoments:
    """Mergeable moments of one column of χ."""

    num_tokens: int
    """Tokens seen."""
    mean: float
    """Mean of χ."""
    squares: float
    """Σ (χ − mean)²."""
    error_squares: float
    """Σ of the squared jackknife standard errors; NaN with one chain."""
    half_means_P2: FloatArray
    """Mean of the estimates of the two halves of each split."""
    half_products_P3: FloatArray
    """Σ aa, Σ bb, Σ ab of the halves' deviations from their means."""


@dataclass(frozen=True, kw_only=True)
class ColumnEstimate:
    """One column of χ, or B, with its error bars."""

    chi_N: FloatArray
    """χ, from all chains."""
    standard_error_N: FloatArray
    """Jackknife standard error over chains; NaN with one chain."""
    num_chains: int
    """C; the interval of the errors is that of interval.py."""
    moments: ColumnMoments
    """What reliability is computed from."""
    halves_P2N: FloatArray
    """χ from the two halves of the chains, for every split."""


def splits(num_chains: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Ways to part the chains into two disjoint halves of equal size, at most MAX_SPLITS."""
    half = num_chains // 2
    if half == 0:
        return []
    chains = range(num_chains)
    found = []
    for first in combinations(chains, half):
        for second in combinations([c for c in chains if c not in first], half):
            if first < second:
                found.append((first, second))
            if len(found) == MAX_SPLITS:
                return found
    return found


def estimate_column(
    component: ChainSums, full: ChainSums | None, kind: EstimatorKind, *, phi_offset: float = 0.0
) -> ColumnEstimate:
    """χ of one component for the tokens of the sums, with its error bars.

    Args:
        component: sums of the component's restricted chains.
        full: sums of the unrestricted chains, as many; None unless `two_chain`.
        kind: estimator.
        phi_offset: see `susceptibility`.
    """

    def chi(chains: Sequence[int]) -> FloatArray:
        own = component.of_chains(chains)
        needed = full.of_chains(chains) if full is not None and kind.needs_full else None
        return susceptibility(own, kind.reference(own, needed), phi_offset=phi_offset)

    return _estimate(chi, component.num_chains)


def estimate_response(full: ChainSums) -> ColumnEstimate:
    """B of the tokens of the sums, nats, as the unrestricted chains have it, with its error bars.

    Its halves are of the same chains as those of the columns.
    """
    return _estimate(lambda chains: full.of_chains(chains).response_N, full.num_chains)


def estimate_influence(sums: ChainSums, observable: str) -> ColumnEstimate:
    """Influence of the tokens of the sums on an observable, with its error bars."""
    return _estimate(lambda chains: sums.influence(observable, chains), sums.num_chains)


def _estimate(of_chains: Callable[[Sequence[int]], FloatArray], num_chains: int) -> ColumnEstimate:
    chi_N = of_chains(range(num_chains))
    left_out = [[c for c in range(num_chains) if c != left] for left in range(num_chains)]
    error_N = (
        _jackknife([of_chains(chains) for chains in left_out])
        if num_chains > 1
        else np.full_like(chi_N, np.nan)
    )
    halves = [(of_chains(first), of_chains(second)) for first, second in splits(num_chains)]
    return ColumnEstimate(
        chi_N=chi_N,
        standard_error_N=error_N,
        num_chains=num_chains,
        moments=_moments(chi_N, error_N, halves),
        halves_P2N=np.array(halves).reshape(len(halves), 2, len(chi_N)),
    )


def predicted_column(
    chi_N: npt.NDArray[np.floating],
    deviation_N: npt.NDArray[np.floating],
    halves_2N: npt.NDArray[np.floating],
) -> ColumnEstimate:
    """One column of predicted χ: its deviations take the place of standard errors over chains.

    Args:
        chi_N: predicted χ.
        deviation_N: standard deviation of each one's error.
        halves_2N: the same predicted from each half of the chains alone.
    """
    chi, error = chi_N.astype(np.float64), deviation_N.astype(np.float64)
    halves = halves_2N.astype(np.float64)
    return ColumnEstimate(
        chi_N=chi,
        standard_error_N=error,
        num_chains=len(halves),
        moments=_moments(chi, error, [(halves[0], halves[1])]),
        halves_P2N=halves[None],
    )


def centred_reliability(columns: Sequence[ColumnEstimate]) -> FloatArray:
    """Reliability of what is left of each column after standardising and row-centring, [H].

    Clusters are found in the standardised columns less the mean of each row: without the uniform
    mode, which every column shares and which dominates the raw columns' reliability (ADR 004).
    The same is done here to each half by itself, then halves are correlated as in `reliability`.
    The columns are those of one token shard; summaries average over shards. NaN with one chain,
    one column, or a constant column.
    """
    halves_HP2N = np.stack([column.halves_P2N for column in columns])
    num_columns, num_splits, _, _ = halves_HP2N.shape
    if num_splits == 0 or num_columns == 1:
        return np.full(num_columns, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = _standardised(halves_HP2N)
        centred = _standardised(centred - centred.mean(axis=0))
        correlation_HP: FloatArray = (centred[:, :, 0] * centred[:, :, 1]).mean(axis=-1)
    mean_H: FloatArray = correlation_HP.mean(axis=1)
    return mean_H


def first_halves(columns: Sequence[ColumnEstimate]) -> tuple[FloatArray, FloatArray] | None:
    """χ of all columns from the two halves of the first split, [N, H] each; None with one chain.

    With an odd number of chains the last one is in neither. With an even number, and as much
    weight in one half as in the other, every expectation over chains is the mean of the halves'
    (written ' and ''), and with r_i = E[Δℓ_i − ΔL], over the unrestricted chains (two_chain) or
    the component's own (one_chain),

        ½ (χ'_i + χ''_i) − χ_i = ¼ (E'[φ] − E''[φ]) (r'_i − r''_i):

    a product of two expectations is all that is not linear in the chains. The average of the
    halves is χ exactly where the halves agree on E[φ] or on r, and always up to this term, which
    is one vector of the tokens times a number per component for `two_chain`.
    """
    if any(len(column.halves_P2N) == 0 for column in columns):
        return None
    halves_2NH = np.stack([column.halves_P2N[0] for column in columns], axis=-1)
    return halves_2NH[0], halves_2NH[1]


def merge(first: ColumnMoments, second: ColumnMoments) -> ColumnMoments:
    """Moments of the union of two shards (Chan, Golub & LeVeque 1983)."""
    total = first.num_tokens + second.num_tokens
    factor = first.num_tokens * second.num_tokens / total
    shift = second.mean - first.mean
    half_shift_P2 = second.half_means_P2 - first.half_means_P2
    a, b = half_shift_P2[:, 0], half_shift_P2[:, 1]
    weight = second.num_tokens / total
    return ColumnMoments(
        num_tokens=total,
        mean=first.mean + weight * shift,
        squares=first.squares + second.squares + factor * shift**2,
        error_squares=first.error_squares + second.error_squares,
        half_means_P2=first.half_means_P2 + weight * half_shift_P2,
        half_products_P3=first.half_products_P3
        + second.half_products_P3
        + factor * np.stack([a * a, b * b, a * b], axis=-1),
    )


def reliability(moments: ColumnMoments) -> float:
    """Split-half reliability of a column; NaN with one chain or a constant column."""
    if len(moments.half_products_P3) == 0:
        return float("nan")
    aa, bb, ab = moments.half_products_P3.T
    scale = np.sqrt(aa * bb)
    if not (scale > 0).all():
        return float("nan")
    return float((ab / scale).mean())


def spearman_brown(reliability: npt.ArrayLike, factor: float = 2.0) -> FloatArray:
    """Reliability of m = `factor` times as much data: m r / (1 + (m − 1) r).

    Spearman and Brown (1910); of all draws, from that of one half, with the factor 2. NaN from the
    pole r = −1 / (m − 1) downwards. Negative where r is: callers say what that is for them.
    """
    r = np.asarray(reliability, np.float64)
    scale = 1 + (factor - 1) * r
    with np.errstate(invalid="ignore", divide="ignore"):
        result: FloatArray = np.where(scale > 0, factor * r / scale, np.nan)
    return result


def column_correlation(
    first_NH: npt.NDArray[np.floating], second_NH: npt.NDArray[np.floating]
) -> FloatArray:
    """Correlation over tokens of each pair of columns, [H]; NaN where one is constant."""
    a_NH, b_NH = (x.astype(np.float64) for x in (first_NH, second_NH))
    a_NH, b_NH = a_NH - a_NH.mean(0), b_NH - b_NH.mean(0)
    scale_H = np.sqrt((a_NH**2).sum(0) * (b_NH**2).sum(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        r_H: FloatArray = np.where(scale_H > 0, (a_NH * b_NH).sum(0) / scale_H, np.nan)
    return r_H


def standard_error(moments: ColumnMoments) -> float:
    """Root mean square over tokens of the standard error of χ, nats²; NaN with one chain."""
    return float(np.sqrt(moments.error_squares / moments.num_tokens))


def standard_deviation(moments: ColumnMoments) -> float:
    """Standard deviation of χ over tokens, nats²: what standardisation divides by."""
    return float(np.sqrt(moments.squares / moments.num_tokens))


def gelman_rubin(traces: Sequence[npt.NDArray[np.floating]]) -> float:
    """R̂ of a trace over chains (Gelman & Rubin 1992); near 1 where chains agree.

    Chains of different lengths are cut to the shortest. NaN with fewer than two chains or two
    draws, or if no chain moves.
    """
    num_draws = min(len(trace) for trace in traces)
    if len(traces) < 2 or num_draws < 2:
        return float("nan")
    trace_CT = np.stack([trace[:num_draws] for trace in traces])
    within = float(trace_CT.var(axis=1, ddof=1).mean())
    between = float(trace_CT.mean(axis=1).var(ddof=1))
    if within == 0.0:
        return float("nan")
    return float(np.sqrt((num_draws - 1) / num_draws + between / within))


def _standardised(values: FloatArray) -> FloatArray:
    """Zero mean and unit variance along the last axis."""
    deviations = values - values.mean(axis=-1, keepdims=True)
    result: FloatArray = deviations / deviations.std(axis=-1, keepdims=True)
    return result


def _jackknife(left_out: list[FloatArray]) -> FloatArray:
    stacked = np.stack(left_out)
    error_N: FloatArray = np.sqrt((len(stacked) - 1) * stacked.var(axis=0))
    return error_N


def _moments(
    chi_N: FloatArray, error_N: FloatArray, halves: list[tuple[FloatArray, FloatArray]]
) -> ColumnMoments:
    means, products = np.zeros((len(halves), 2)), np.zeros((len(halves), 3))
    for row, (first, second) in enumerate(halves):
        means[row] = first.mean(), second.mean()
        a, b = first - first.mean(), second - second.mean()
        products[row] = a @ a, b @ b, a @ b
    return ColumnMoments(
        num_tokens=len(chi_N),
        mean=float(chi_N.mean()),
        squares=float(((chi_N - chi_N.mean()) ** 2).sum()),
        error_squares=float((error_N**2).sum()),
        half_means_P2=means,
        half_products_P3=products,
    )
