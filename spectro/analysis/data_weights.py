"""Data weights for a change of responses: patterning, by the regularised pseudo-inverse of χ.

The units (tokens, sequences, clusters, subsets) divide the tokens of a run; unit u has the share
p_u of them and the mean response x_u, a deviation from the mean of all tokens. Training data with
weights w on the units shifts E[φ_C] by nβ Σ_u w_u x_uC to first order (Baker et al. 2025, arXiv
2504.18274). Patterning asks for the weights of a wanted shift t (Wang & Murfet 2026, arXiv
2601.13548):

    minimise  ½ |Σ_u w_u x_u − t|² / ridge + ½ Σ_u p_u (w_u/p_u − 1)²
    where     w ≥ 0,  Σ w = 1,  w_u ≤ max_ratio · p_u.

Without the bounds that is w_u = p_u (1 + x_u · (C + ridge)⁻¹ t), C = Σ_u p_u x_u x_uᵀ: the ridge
pseudo-inverse of χ, applied to t. With them it is w_u = p_u clip(1 + x_u · a − b, 0, max_ratio),
where (a, b) minimises the convex dual in H + 1 unknowns, whatever the number of units
(`bounded_weights.py`).

Two kinds of noise are kept out. Directions of χ in which the halves of the chains do not agree are
cut off (`reliable_axes`), and the ridge is the one whose weights, made from one half, bring the
responses of the other half nearest to t (`chosen_ridge`). A prediction is made from the half that
the weights have not seen.

Shapes: U units, H components, A axes, G ridges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from spectro.analysis.bounded_weights import weights_for

Float64 = NDArray[np.float64]

RIDGES = tuple(10.0**power for power in np.arange(-4, 3.5, 0.5))
"""Ridges that are tried, in units of the mean variance of the axes kept."""
LEAST_REACHABLE = 0.01
"""Least share of a target along reliable axes."""
LEAST_GAIN = 1.01
"""Least factor by which the response grows where the target is doubled. Below it all weights are at
their bounds: those of few units keep their effective number, however large the target is."""


@dataclass(frozen=True, kw_only=True)
class UnitResponses:
    """Responses of units of data, from two halves of the chains."""

    share_U: Float64
    """p, share of the tokens; sums to one."""
    first_UH: Float64
    """Mean x of each unit from the first half, in standard deviations of tokens."""
    second_UH: Float64
    """The same from the second half."""

    def __post_init__(self) -> None:
        if len(self.share_U) < 2:
            raise ValueError(
                f"expected at least two units of data, found {len(self.share_U)}: take smaller ones"
            )
        shape = (len(self.share_U), self.first_UH.shape[-1])
        if self.first_UH.shape != shape or self.second_UH.shape != shape:
            raise ValueError(
                f"expected responses of shape {shape} from both halves, found "
                f"{self.first_UH.shape} and {self.second_UH.shape}"
            )
        if not (np.isfinite(self.first_UH).all() and np.isfinite(self.second_UH).all()):
            raise ValueError("expected finite responses of all units, found some that are not")
        if (self.share_U <= 0).any() or abs(self.share_U.sum() - 1) > 1e-6:
            raise ValueError("expected positive shares that sum to one: is a unit without tokens?")

    @property
    def mean_UH(self) -> Float64:
        """Responses from all chains."""
        return (self.first_UH + self.second_UH) / 2

    def covariance(self, one_UH: Float64, other_UH: Float64) -> Float64:
        """Σ_u p_u x_u x'_uᵀ, symmetric, [H, H]."""
        product = one_UH.T @ (self.share_U[:, None] * other_UH)
        return (product + product.T) / 2


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Directions of responses in which the halves agree."""

    direction_AH: Float64
    """Unit vectors."""
    reliability_A: Float64
    """Share of their variance over units that is not noise of the draws."""
    num_dropped: int
    """Directions below the least reliability."""

    def within(self, x_UH: Float64) -> Float64:
        """The part of some vectors along the axes, [..., H]."""
        result: Float64 = x_UH @ self.direction_AH.T @ self.direction_AH
        return result


def reliable_axes(responses: UnitResponses, min_reliability: float) -> Axes:
    """Principal axes of the units' responses that both halves of the chains show.

    The reliability of an axis v is vᵀ C₁₂ v / vᵀ C v: covariance between the halves over variance
    of their mean.

    Raises ValueError where no axis reaches `min_reliability`.
    """
    mean_UH = responses.mean_UH
    variance_H, vectors_HH = np.linalg.eigh(responses.covariance(mean_UH, mean_UH))
    between_HH = responses.covariance(responses.first_UH, responses.second_UH)
    shared_H = np.einsum("hk,hg,gk->k", vectors_HH, between_HH, vectors_HH)
    is_varied_H = variance_H > variance_H[-1] * 1e-12
    reliability_H = np.where(is_varied_H, shared_H / np.where(is_varied_H, variance_H, 1), 0.0)
    kept = np.flatnonzero(reliability_H >= min_reliability)[::-1]
    if not kept.size:
        raise ValueError(
            f"expected a direction of responses with reliability of at least {min_reliability}, "
            f"found at most {reliability_H.max():.2f}: more draws or larger units of data raise "
            "it, min_reliability allows less"
        )
    return Axes(
        direction_AH=np.ascontiguousarray(vectors_HH[:, kept].T),
        reliability_A=reliability_H[kept],
        num_dropped=len(reliability_H) - len(kept),
    )


@dataclass(frozen=True, kw_only=True)
class RidgeChoice:
    """Ridge by cross-validation over halves of the chains."""

    ridge: float
    """Chosen."""
    ridge_G: Float64
    """Tried."""
    error_G: Float64
    """|response in the half that was not used − t|² / |t|², mean of both ways; 1 is no change."""


def chosen_ridge(responses: UnitResponses, axes: Axes, target_H: Float64) -> RidgeChoice:
    """The ridge whose weights from one half reach the target best in the other half."""
    target_H = axes.within(target_H)
    halves = [axes.within(x_UH) for x_UH in (responses.first_UH, responses.second_UH)]
    own = [responses.covariance(x_UH, x_UH) for x_UH in halves]
    between_HH = halves[1].T @ (responses.share_U[:, None] * halves[0])
    pairs = ((own[0], between_HH), (own[1], between_HH.T))
    unit = sum(float(np.trace(c_HH)) for c_HH in own) / 2 / len(axes.direction_AH)
    ridge_G = unit * np.array(RIDGES)
    identity_HH = np.eye(target_H.size)

    def miss(c_HH: Float64, cross_HH: Float64, ridge: float) -> float:
        reached_H = cross_HH @ np.linalg.solve(c_HH + ridge * identity_HH, target_H)
        return float(np.sum((reached_H - target_H) ** 2))

    errors = [[miss(*pair, ridge) for pair in pairs] for ridge in ridge_G.tolist()]
    error_G = np.mean(errors, axis=1) / max(float(target_H @ target_H), np.finfo(float).tiny)
    return RidgeChoice(ridge=float(ridge_G[error_G.argmin()]), ridge_G=ridge_G, error_G=error_G)


def effective_share(share_U: Float64, factor_U: Float64) -> float:
    """Effective number of units over their number, for units of one size: (Σw)² / Σ w²/p."""
    return float((share_U @ factor_U) ** 2 / (share_U @ factor_U**2))


@dataclass(frozen=True, kw_only=True)
class DataWeights:
    """Weights on the units, and what they are expected to do."""

    factor_U: Float64
    """w_u / p_u, from all chains."""
    target_H: Float64
    """t that the weights were made for, in standard deviations."""
    predicted_H: Float64
    """Response of such weights, made from one half of the chains, in the other half; mean of both
    ways. Weights from all chains do more."""
    error_H: Float64
    """Half the difference of the two ways: an error of the draws with one degree of freedom."""
    reached: float
    """Predicted response along the target, as a share of it: 1 is all."""
    reachable: float
    """Share of |t|² along reliable axes; no weights reach the rest."""
    effective_share: float
    """Effective number of units as a share of their number, weighted by size."""
    axes: Axes
    """Directions that were used."""
    ridge: RidgeChoice
    """Its cross-validation."""


def data_weights(
    responses: UnitResponses,
    target_H: Float64,
    *,
    grow: bool,
    min_reliability: float = 0.5,
    min_effective_share: float = 0.25,
    max_ratio: float = 10.0,
) -> DataWeights:
    """Weights of the units that shift the responses by `target_H`.

    Args:
        responses: of the units, from two halves of the chains.
        target_H: wanted shift of E[φ] / nβ, in standard deviations of tokens.
        grow: the target is a direction, as long as the bounds allow; else it is shortened only
            where they require it.
        min_reliability: least reliability of an axis.
        min_effective_share: least effective number of units, as a share: the bound on the change.
        max_ratio: largest factor of a unit.

    Raises ValueError where nothing of the target is along reliable axes, or it is too far out of
    reach.
    """
    axes = reliable_axes(responses, min_reliability)
    length = float(np.linalg.norm(target_H))
    reachable_H = axes.within(target_H)
    reachable = _reachable_share(reachable_H, target_H, len(axes.reliability_A))
    ridge = chosen_ridge(responses, axes, target_H)

    def factors(x_UH: Float64, size: float) -> Float64:
        return weights_for(
            responses.share_U, axes.within(x_UH), size * reachable_H, ridge.ridge, max_ratio
        )

    def reached_at(size: float) -> tuple[float, float]:
        """Effective share, and response along the target."""
        try:
            factor_U = factors(responses.mean_UH, size)
        except ArithmeticError:  # out of reach of any weights
            return 0.0, 0.0
        response = (responses.share_U * factor_U) @ responses.mean_UH @ reachable_H
        return effective_share(responses.share_U, factor_U), float(response)

    size = _largest_size(reached_at, min_effective_share, grow=grow)
    try:
        factor_U = factors(responses.mean_UH, size)
        one_H, other_H = _cross_predicted(responses, lambda seen_UH: factors(seen_UH, size))
    except ArithmeticError as error:
        raise ValueError(str(error)) from error
    predicted_H = (one_H + other_H) / 2
    return DataWeights(
        factor_U=factor_U,
        target_H=size * target_H,
        predicted_H=predicted_H,
        error_H=np.abs(one_H - other_H) / 2,
        reached=float(predicted_H @ target_H) / (size * length**2),
        reachable=reachable,
        effective_share=effective_share(responses.share_U, factor_U),
        axes=axes,
        ridge=ridge,
    )


def _cross_predicted(
    responses: UnitResponses, factors: Callable[[Float64], Float64]
) -> list[Float64]:
    """Shift [H] in each half of the chains under the weights made from the other half."""
    return [
        (responses.share_U * factors(seen_UH)) @ unseen_UH
        for seen_UH, unseen_UH in permutations((responses.first_UH, responses.second_UH))
    ]


def _reachable_share(reachable_H: Float64, target_H: Float64, num_axes: int) -> float:
    """Share of |t|² along reliable axes; ValueError where it is next to nothing, or NaN."""
    square = float(np.linalg.norm(target_H)) ** 2
    share = float(reachable_H @ reachable_H) / square if square else 0.0
    if not share >= LEAST_REACHABLE:
        raise ValueError(
            f"expected a target along responses that data can change, found {share:.1%} of it "
            f"there ({num_axes} reliable axes): is it zero, or constant over units?"
        )
    return share


def _largest_size(
    reached_at: Callable[[float], tuple[float, float]], least: float, *, grow: bool
) -> float:
    """The largest multiple of a target whose weights keep an effective share, to 1 %."""
    low, high = 0.0, 1.0
    share, response = reached_at(high)
    while grow and share >= least:
        share, larger = reached_at(2 * high)
        if share >= least and larger < LEAST_GAIN * response:
            return high
        low, high, response = high, 2 * high, larger
    if share >= least:
        return high
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if reached_at(middle)[0] >= least else (low, middle)
    return low or high
