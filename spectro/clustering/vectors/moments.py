"""First and second moments of columns, by block and merged over shards.

Shapes: N tokens, R rows of a block, H columns.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

BLOCK_ROWS = 1024
"""Rows in float64 at once (6 MB of 820 columns); fixed, so that the sums' order is."""
TILE_ROWS = 64
"""Rows that stay in the cache over all pairs of columns."""
ROWS_AT_ONCE = 4
"""Rows added per visit of a matrix entry."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Count, mean and centred products of the columns of χ, in float64.

    The mean is `origin` + `offset`, a nearby value and the rest, so that merging loses no digits.
    """

    num_tokens: int
    """Rows that are finite in every column; only these count."""
    num_not_finite: int
    """Rows with a value that is not finite."""
    origin_H: Float64
    """A value near each column's mean: the mean of the first block, rounded."""
    offset_H: Float64
    """Mean of χ − origin."""
    squares_H: Float64
    """Σ (χ − mean)²."""
    products_HH: Float64 | None
    """Σ (χ − mean)(χ − mean)ᵀ; None if only variances were taken."""
    largest_H: Float64
    """Largest |χ|: what rounding is measured against."""
    not_finite_H: NDArray[np.int64]
    """Values that are not finite, by column."""

    @property
    def mean_H(self) -> Float64:
        """Mean of each column."""
        return self.origin_H + self.offset_H

    @property
    def scale_H(self) -> Float64:
        """Standard deviation of each column (ddof 0)."""
        scale: Float64 = np.sqrt(self.squares_H / max(self.num_tokens, 1))
        return scale

    @property
    def covariance_HH(self) -> Float64:
        """Covariance of the columns (ddof 0); ValueError if not taken."""
        if self.products_HH is None:
            raise ValueError(
                "these moments have variances only, whitening needs covariances: "
                "were they taken with covariances=False?"
            )
        return self.products_HH / max(self.num_tokens, 1)

    @classmethod
    def of(cls, chi_NH: NDArray[Any], *, covariances: bool = True) -> "Moments":
        """Moments of all rows; ValueError on another shape.

        `covariances=False` takes N·H instead of N·H² steps: enough for standardisation. The same
        bits for any number of threads.
        """
        if chi_NH.ndim != 2:
            raise ValueError(f"clustering needs χ of shape [N ≥ 2, H], found {chi_NH.shape}")
        moments = _empty(chi_NH.shape[1], covariances)
        for start in range(0, chi_NH.shape[0], BLOCK_ROWS):
            block_RH = np.asarray(chi_NH[start : start + BLOCK_ROWS], np.float64)
            moments = merge(moments, _of_block(block_RH, covariances))
        return moments


def merge(first: Moments, second: Moments) -> Moments:
    """Moments of the union (Chan, Golub & LeVeque 1983); ValueError on other columns.

    With δ = mean₂ − mean₁ and n = n₁ + n₂: mean = mean₁ + (n₂/n) δ and products = products₁ +
    products₂ + (n₁ n₂/n) δ δᵀ. The last bits depend on the order: merge in the order of the shards.
    """
    if first.origin_H.size != second.origin_H.size:
        raise ValueError(
            f"moments of {second.origin_H.size} columns cannot join those of "
            f"{first.origin_H.size}: are the shards of one run?"
        )
    base = first if first.num_tokens else second
    total = first.num_tokens + second.num_tokens
    delta_H = (second.origin_H - first.origin_H) + (second.offset_H - first.offset_H)
    factor = first.num_tokens * second.num_tokens / max(total, 1)
    share = second.num_tokens / max(total, 1)
    joined = None
    if first.products_HH is not None and second.products_HH is not None:
        joined = first.products_HH + second.products_HH + factor * np.outer(delta_H, delta_H)
    return Moments(
        num_tokens=total,
        num_not_finite=first.num_not_finite + second.num_not_finite,
        origin_H=base.origin_H,
        offset_H=first.offset_H + share * delta_H if base is first else second.offset_H,
        squares_H=first.squares_H + second.squares_H + factor * delta_H**2,
        products_HH=joined,
        largest_H=np.maximum(first.largest_H, second.largest_H),
        not_finite_H=first.not_finite_H + second.not_finite_H,
    )


def _empty(num_columns: int, covariances: bool) -> Moments:
    zeros = np.zeros(num_columns)
    return Moments(
        num_tokens=0,
        num_not_finite=0,
        origin_H=zeros,
        offset_H=zeros,
        squares_H=zeros,
        products_HH=np.zeros((num_columns, num_columns)) if covariances else None,
        largest_H=zeros,
        not_finite_H=np.zeros(num_columns, np.int64),
    )


def _of_block(block_RH: Float64, covariances: bool) -> Moments:
    finite_RH = np.isfinite(block_RH)
    whole_R = finite_RH.all(axis=1)
    rows_RH = block_RH[whole_R]
    empty = _empty(block_RH.shape[1], covariances)
    origin_H = rows_RH.mean(axis=0) if len(rows_RH) else empty.origin_H
    rows_RH = rows_RH - origin_H
    offset_H = rows_RH.mean(axis=0) if len(rows_RH) else empty.offset_H
    rows_RH -= offset_H
    products_HH = empty.products_HH
    if products_HH is not None:
        _add_products(rows_RH, products_HH)
    return Moments(
        num_tokens=len(rows_RH),
        num_not_finite=int((~whole_R).sum()),
        origin_H=origin_H,
        offset_H=offset_H,
        squares_H=(rows_RH**2).sum(axis=0) if products_HH is None else np.diag(products_HH).copy(),
        products_HH=products_HH,
        largest_H=np.abs(block_RH[whole_R]).max(axis=0, initial=0.0),
        not_finite_H=(~finite_RH).sum(axis=0),
    )


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_products(rows_RH: Float64, products_HH: Float64) -> None:
    """products += rowsᵀ rows, in row order and exactly symmetric.

    A library's product may differ in its last bits with its threads.
    """
    num_rows, num_columns = rows_RH.shape
    whole = num_rows - num_rows % ROWS_AT_ONCE
    for tile in range(0, whole, TILE_ROWS):
        for a in range(num_columns):
            for r in range(tile, min(tile + TILE_ROWS, whole), ROWS_AT_ONCE):
                x0, x1, x2, x3 = (
                    rows_RH[r, a],
                    rows_RH[r + 1, a],
                    rows_RH[r + 2, a],
                    rows_RH[r + 3, a],
                )
                for b in range(a, num_columns):
                    products_HH[a, b] += (x0 * rows_RH[r, b] + x1 * rows_RH[r + 1, b]) + (
                        x2 * rows_RH[r + 2, b] + x3 * rows_RH[r + 3, b]
                    )
    for r in range(whole, num_rows):
        for a in range(num_columns):
            for b in range(a, num_columns):
                products_HH[a, b] += rows_RH[r, a] * rows_RH[r, b]
    for a in range(num_columns):
        for b in range(a):
            products_HH[a, b] = products_HH[b, a]
