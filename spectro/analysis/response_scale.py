"""Units of responses: nats², standard deviations, or row-centred.

Raw columns of χ are not comparable between components; standardised ones are. The mean of a
standardised row is the uniform mode, most of the variance; `centred` removes it, as clustering
does. A constant column is 0 in every unit but nats², and not part of that mean. Shapes: N tokens,
H components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.analysis.scaling import Scaling
from spectro.clustering.vectors.moments import Moments
from spectro.clustering.vectors.preprocess import ROUNDING

Float64 = NDArray[np.float64]


def varying(deviation_H: NDArray[np.floating], largest_H: NDArray[np.floating]) -> Float64:
    """Standard deviations, 0 for columns that vary by less than rounding.

    As in clustering (`preprocess.ROUNDING`). NaN (unknown) stays NaN.
    """
    constant_H = deviation_H <= ROUNDING * np.abs(largest_H)
    return np.where(constant_H, 0.0, deviation_H)


@dataclass(frozen=True, kw_only=True)
class ResponseScale:
    """x(χ): the deviation from the mean of all tokens, in the units of a `Scaling`."""

    kind: Scaling
    """Which units."""
    mean_H: Float64
    """Mean of χ over all tokens, nats²."""
    deviation_H: Float64
    """Standard deviation over all tokens, nats²; 0 for a column that does not vary."""

    @classmethod
    def of(cls, moments: Moments, kind: Scaling) -> ResponseScale:
        """From the moments of all tokens.

        Raises ValueError, in one line, where no token is finite in every column.
        """
        if not moments.num_tokens:
            raise ValueError(
                f"responses need tokens with finite χ, found none beside {moments.num_not_finite} "
                "that are not finite: was the product written by an interrupted run?"
            )
        deviation_H = varying(moments.scale_H, moments.largest_H)
        return cls(kind=kind, mean_H=moments.mean_H, deviation_H=deviation_H)

    @property
    def unit_H(self) -> Float64:
        """Divisor of each column; infinite for constant ones, which become 0."""
        if self.kind is Scaling.RAW:
            return np.ones_like(self.mean_H)
        return np.where(self.deviation_H > 0, self.deviation_H, np.inf)

    def apply(self, chi_NH: NDArray[np.floating]) -> Float64:
        """x of some tokens [N, H]; ValueError on another number of columns."""
        if chi_NH.ndim != 2 or chi_NH.shape[1] != self.mean_H.size:
            raise ValueError(
                f"expected χ of shape [N, {self.mean_H.size}], found {chi_NH.shape}: "
                "is it of another run?"
            )
        x_NH = (chi_NH.astype(np.float64) - self.mean_H) / self.unit_H
        if self.kind is Scaling.CENTRED:  # constant columns are 0, and add nothing to the sum
            x_NH -= x_NH.sum(axis=1, keepdims=True) * self._share_H
        result: Float64 = x_NH
        return result

    def covariance(self, moments: Moments) -> Float64:
        """Covariance [H, H] of x over all tokens."""
        result: Float64 = moments.covariance_HH / np.outer(self.unit_H, self.unit_H)
        if self.kind is Scaling.CENTRED:
            result = result - np.outer(self._share_H, result.sum(axis=0))
            result = result - np.outer(result.sum(axis=1), self._share_H)
        return result

    @property
    def _share_H(self) -> Float64:
        """Weight of each column in a row's mean: equal among those that vary."""
        varies_H = (self.deviation_H > 0).astype(np.float64)
        return varies_H / max(1.0, float(varies_H.sum()))
