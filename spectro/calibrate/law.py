"""A scaling law of held neighbours in tokens and draws, fitted to a pilot's cells.

The value of n tokens with r draws each is the number of held neighbours per list place,
    v(n, r) = n · (shared − chance)/(1 − chance):
neighbours that a disjoint set of r draws finds again. With ρ(r) = r/(r + r₀), the reliability of r
draws (Spearman and Brown), r₀ from the correlations of the sets,
    log₂ v = a + e log₂ n + b log₂ ρ(r):
doubling the tokens is worth e doublings of v, draws saturate. Fitted by least squares, each cell
weighted by its own error and by what the law itself leaves. What is not in the fit's own error is
drift, by which e changes with n: the miss, per doubling, of a law that
was fitted without the largest n, at the largest n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spectro.calibrate.measures import Cell
from spectro.calibrate.responses import Float64

MIN_CELLS = 4
"""Cells with more neighbours in common than chance, below which three numbers are not fitted."""
ABOVE_CHANCE = 3.0
"""Standard errors that a cell must be above chance to count."""
LAW_ERROR = 0.05
"""Doublings that the law itself is taken to be off by in each cell, beside the cell's own error:
without it the best measured cells alone would decide."""


@dataclass(frozen=True, kw_only=True)
class Law:
    """log₂ v of n tokens with r draws each."""

    coefficient_3: Float64
    """a, e, b."""
    covariance_33: Float64
    """Of the coefficients, from the cells' errors, or the residuals where these are larger."""
    half_draws: float
    """r₀, draws at which half of a column's variance is signal."""
    residual: float
    """Root mean square of the residuals, in doublings of v."""
    drift: float
    """Miss at the largest n of a law fitted without it, doublings of v per doubling of n; NaN
    where the pilot has too few n to leave one out."""

    @property
    def per_token_doubling(self) -> float:
        """e."""
        return float(self.coefficient_3[1])

    def log2_value(self, num_tokens: float, num_draws: float) -> float:
        """log₂ v."""
        return float(self._row(num_tokens, num_draws) @ self.coefficient_3)

    def error_of_difference(self, first: tuple[int, int], second: tuple[int, int]) -> float:
        """Standard error of log₂ v(first) − log₂ v(second), each (n, r)."""
        step_3 = self._row(*first) - self._row(*second)
        fitted = float(step_3 @ self.covariance_33 @ step_3)
        return math.sqrt(fitted + (self.drift * step_3[1]) ** 2)

    def _row(self, num_tokens: float, num_draws: float) -> Float64:
        return _row(num_tokens, num_draws, self.half_draws)


def value(cell: Cell) -> float:
    """v of a measured cell; not above 0 where chance shares as much."""
    return cell.num_tokens * (cell.shared - cell.chance) / (1 - cell.chance)


def fit(cells: Sequence[Cell]) -> Law | None:
    """The law of some cells; None where they are too few, or of one n or one r only."""
    half_draws = _half_draws(cells)
    used = [c for c in cells if c.shared - c.chance > ABOVE_CHANCE * c.error]
    fitted = _fit(used, half_draws)
    if fitted is None:
        return None
    coefficient_3, covariance_33, residual = fitted
    return Law(
        coefficient_3=coefficient_3,
        covariance_33=covariance_33,
        half_draws=half_draws,
        residual=residual,
        drift=_drift(used, half_draws),
    )


def _row(num_tokens: float, num_draws: float, half_draws: float) -> Float64:
    reliability = num_draws / (num_draws + half_draws)
    return np.array([1.0, math.log2(num_tokens), math.log2(reliability)])


def _half_draws(cells: Sequence[Cell]) -> float:
    """r₀ from ρ/(1 − ρ) = r/r₀, the median over cells; draws are few where ρ is not above 0."""
    odds = [c.reliability / (1 - c.reliability) / c.num_draws for c in cells if c.reliability < 1]
    slope = float(np.median(odds)) if odds else math.inf
    return 1 / slope if slope > 0 else math.inf


def _fit(cells: Sequence[Cell], half_draws: float) -> tuple[Float64, Float64, float] | None:
    several = all(
        len({getattr(c, name) for c in cells}) > 1 for name in ("num_tokens", "num_draws")
    )
    if len(cells) < MIN_CELLS or not several or not math.isfinite(half_draws):
        return None
    design = np.stack([_row(c.num_tokens, c.num_draws, half_draws) for c in cells])
    target = np.log2([value(cell) for cell in cells])
    if np.linalg.matrix_rank(design) < 3:
        return None
    own = [c.error / (c.shared - c.chance) / math.log(2) for c in cells]
    weight = 1 / np.hypot(own, LAW_ERROR)
    covariance_33 = np.linalg.inv(design.T @ (weight[:, None] ** 2 * design)).astype(np.float64)
    coefficient_3 = covariance_33 @ (design.T @ (weight**2 * target))
    missed = target - design @ coefficient_3
    scatter = float(((weight * missed) ** 2).sum()) / (len(cells) - 3)
    return coefficient_3, max(1.0, scatter) * covariance_33, float(np.sqrt((missed**2).mean()))


def _drift(cells: Sequence[Cell], half_draws: float) -> float:
    sizes = sorted({cell.num_tokens for cell in cells})
    fitted = _fit([cell for cell in cells if cell.num_tokens < sizes[-1]], half_draws)
    if fitted is None:
        return math.nan
    missed = [
        math.log2(value(cell)) - float(_row(sizes[-1], cell.num_draws, half_draws) @ fitted[0])
        for cell in cells
        if cell.num_tokens == sizes[-1]
    ]
    return abs(float(np.mean(missed))) / math.log2(sizes[-1] / sizes[-2])
