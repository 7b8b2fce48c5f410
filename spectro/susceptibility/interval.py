"""Intervals from few replicates: Student's t (Student 1908).

The delete-one jackknife over C chains knows the variance of χ from C replicates, so that
(estimate − truth) / standard error has about Student's t with C − 1 degrees of freedom, and

    estimate ± t(C − 1) · standard error

covers the truth in 95 % of measurements. With 1.96 in the place of t it covers 70 % of them at
C = 2, 85 % at C = 4 and 91 % at C = 8.

    C     2      3      4      8      16
    t     12.71  4.30   3.18   2.36   2.13

Where something else was drawn than chains, the degrees of freedom are its own: sequences less
subsets for a response (analysis/response_matrix.py). The error of predicted χ is known from many
held-out tokens: 1.96 deviations to either side (predict/held_out.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
"""Share of measurements whose interval covers the truth."""
NORMAL_95 = 1.959964
"""Standard deviations to either side of the mean that hold 95 % of a normal law."""
FloatArray = npt.NDArray[np.float64]


def t_quantile(degrees: npt.ArrayLike) -> FloatArray:
    """Quantile (1 + LEVEL) / 2 of Student's t; NaN for less than one degree of freedom."""
    from scipy.special import stdtrit  # not for commands that only read

    known = np.asarray(degrees, np.float64)
    quantile: FloatArray = np.where(
        known >= 1, stdtrit(np.maximum(known, 1.0), (1 + LEVEL) / 2), np.nan
    )
    return quantile


def half_width(standard_error: Any, num_chains: int | None) -> FloatArray:
    """Half width of the interval of estimates over chains, in their units.

    NaN with one chain, or where their number is not known (None).
    """
    width: FloatArray = t_quantile((num_chains or 0) - 1) * np.asarray(standard_error, np.float64)
    return width


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The 95 % interval of a run's χ."""

    quantile: float
    """Standard errors to either side; NaN where there is no interval."""
    words: str
    """Beside numbers: what ± is."""

    @classmethod
    def over_chains(cls, num_chains: int | None) -> Interval:
        """Of χ that C chains measured; None: their number is not known."""
        return cls(quantile=float(half_width(1.0, num_chains)), words=interval_words(num_chains))

    @classmethod
    def of_predictions(cls) -> Interval:
        """Of χ that is predicted, its standard error the deviation of the predictions' errors."""
        return cls(
            quantile=NORMAL_95,
            words="95 % interval, 1.96 standard deviations of the predictions' errors",
        )

    def half_width(self, standard_error: Any) -> FloatArray:
        """Half width, in the units of the standard error."""
        width: FloatArray = self.quantile * np.asarray(standard_error, np.float64)
        return width


def interval_words(num_chains: int | None) -> str:
    """What ± is, beside numbers over chains: `95 % interval, Student t, 4 chains`."""
    if num_chains is None:
        return "no interval: the number of chains is not known"
    if num_chains < 2:
        return "no interval: one chain"
    wide = f" (t = {float(t_quantile(1)):.1f}: wide)" if num_chains == 2 else ""
    return f"{LEVEL:.0%} interval, Student t, {num_chains} chains{wide}".replace("%", " %")
