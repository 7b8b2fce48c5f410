"""Principal axes of the responses of all tokens, and the tokens at their ends.

Baker et al. 2025 (arXiv 2504.18274) take them of the matrix tokens × components. From the columns'
moments alone: C = covariance of x, C = V Λ Vᵀ; the share of an axis is λ / Σλ, a token's score x ·
v. Signs are arbitrary: the loading of largest magnitude (the first within six digits) is made
positive. Shapes: N tokens of a block, H components, A axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.analysis.response_matrix import Blocks, parts
from spectro.analysis.response_scale import Float64, ResponseScale
from spectro.clustering.vectors.moments import Moments
from spectro.tokens.display.context_text import TokenInContext


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Axes by falling variance."""

    components: tuple[str, ...]
    """Names of the columns."""
    scale: ResponseScale
    """Units of x."""
    variance_H: Float64
    """λ of every axis."""
    loading_AH: Float64
    """The first axes, unit vectors, signs fixed."""

    @property
    def share_H(self) -> Float64:
        """Share of the variance; NaN if nothing varies."""
        total = float(self.variance_H.sum())
        result: Float64 = self.variance_H / (total if total > 0 else np.nan)
        return result


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Tokens with the lowest and highest scores of each axis, strongest first."""

    low_token_id_AK: NDArray[np.int64]
    """Least scores."""
    low_score_AK: Float64
    """In deviations of the axis' scores."""
    high_token_id_AK: NDArray[np.int64]
    """Largest scores."""
    high_score_AK: Float64
    """In deviations of the axis' scores."""


@dataclass(frozen=True, kw_only=True)
class End:
    """One token at an end of an axis."""

    lit: TokenInContext
    score: float
    """In deviations of the axis' scores."""
    types: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AxesData:
    """Axes and the tokens at their ends."""

    principal: Principal
    high: tuple[tuple[End, ...], ...]
    """Highest scores of each axis."""
    low: tuple[tuple[End, ...], ...]
    """Lowest scores of each axis."""


def principal(
    moments: Moments, scale: ResponseScale, components: tuple[str, ...], num_axes: int
) -> Principal:
    """Axes from moments with covariances; at most one per column."""
    variance_H, vectors_HH = np.linalg.eigh(scale.covariance(moments))
    loading_AH = vectors_HH[:, ::-1].T[:num_axes]
    strongest = np.abs(loading_AH).round(6).argmax(axis=1)
    sign_A = np.where(loading_AH[np.arange(len(loading_AH)), strongest] < 0, -1.0, 1.0)
    return Principal(
        components=components,
        scale=scale,
        variance_H=np.maximum(variance_H[::-1], 0.0),
        loading_AH=loading_AH * sign_A[:, None],
    )


def ends(blocks: Blocks, found: Principal, num_each: int) -> Ends:
    """The tokens at both ends, in one pass, some thousand tokens at a time; ties by token id.

    A run of fewer tokens has fewer; an axis without variance has scores of 0.
    """
    num_axes = len(found.loading_AH)
    deviation_A = np.sqrt(found.variance_H[:num_axes])
    unit_A = np.where(deviation_A > 0, deviation_A, np.inf)
    low, high = _Strongest(num_axes, num_each), _Strongest(num_axes, num_each)
    for part in (part for block in blocks() for part in parts(block)):
        finite = np.flatnonzero(np.isfinite(part.chi_NH).all(axis=1))
        score_NA = (found.scale.apply(part.chi_NH[finite]) @ found.loading_AH.T) / unit_A
        high.add(score_NA.T, part.first_token_id + finite)
        low.add(-score_NA.T, part.first_token_id + finite)
    return Ends(
        low_token_id_AK=low.token_id_AK,
        low_score_AK=-low.score_AK,
        high_token_id_AK=high.token_id_AK,
        high_score_AK=high.score_AK,
    )


class _Strongest:
    """The K largest scores of every axis so far."""

    def __init__(self, num_axes: int, num_each: int) -> None:
        self.num_each = num_each
        self.score_AK = np.empty((num_axes, 0))
        self.token_id_AK = np.empty((num_axes, 0), np.int64)

    def add(self, score_AN: Float64, token_id_N: NDArray[np.int64]) -> None:
        scores = np.concatenate([self.score_AK, score_AN], axis=1)
        ids = np.concatenate(
            [self.token_id_AK, np.broadcast_to(token_id_N, score_AN.shape)], axis=1
        )
        order = np.lexsort((ids, -scores), axis=1)[:, : self.num_each]
        self.score_AK = np.take_along_axis(scores, order, axis=1)
        self.token_id_AK = np.take_along_axis(ids, order, axis=1)
