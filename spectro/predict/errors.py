"""Error curves: variance of predictions and of measurement noise as functions of predicted χ.

Both grow with the size of a token's response, over orders of magnitude: one figure per column
would be too wide for most tokens and too narrow for those that matter. Held-out tokens are put
into bins of equal number by the predicted χ of their column; with m the prediction, χ the
measurement, d the difference of its halves, and m's errors independent of its noise,

    noise variance  ν = mean d² / 4,    error variance  e = mean (m − χ)² − ν

Between the bins' means both are interpolated linearly, and beyond the outer ones constant.

Shapes: N tokens, H components, K bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MAX_BINS = 32
TOKENS_PER_BIN = 1000
"""At least; squares of heavy-tailed differences settle slowly."""
SMALLEST_SHARE = 0.02
"""Of a bin's mean square difference between prediction and measurement: less error than this
cannot be distinguished from none."""


@dataclass(frozen=True, kw_only=True)
class ErrorCurves:
    """Per column, by bins of the predicted χ."""

    predicted_KH: FloatArray
    """Mean prediction of each bin, ascending."""
    error_KH: FloatArray
    """Variance of the prediction around the truth."""
    noise_KH: FloatArray
    """Variance of the measurement around the truth, with all its draws."""

    @classmethod
    def fit(
        cls,
        predicted_NH: FloatArray,
        measured_NH: FloatArray,
        noise_NH: FloatArray,
        judged_noise_NH: FloatArray,
    ) -> ErrorCurves:
        """Curves of held-out predictions.

        Args:
            predicted_NH: predictions by networks that have not seen the token or its draws.
            measured_NH: χ along draws that these networks have not seen.
            noise_NH: unbiased estimates of the noise variance of χ from all draws, such as d²/4.
            judged_noise_NH: the same of `measured_NH`, which may be of half the draws.
        """
        num_bins = int(np.clip(len(predicted_NH) // TOKENS_PER_BIN, 1, MAX_BINS))
        squares_NH = (predicted_NH - measured_NH) ** 2
        order_NH = np.argsort(predicted_NH, axis=0, kind="stable")

        def binned(values_NH: FloatArray) -> FloatArray:
            ordered_NH = np.take_along_axis(values_NH, order_NH, 0)
            return np.stack([part.mean(0) for part in np.array_split(ordered_NH, num_bins)])

        total_KH = binned(squares_NH)
        error_KH = np.maximum(total_KH - binned(judged_noise_NH), SMALLEST_SHARE * total_KH)
        return cls(predicted_KH=binned(predicted_NH), error_KH=error_KH, noise_KH=binned(noise_NH))

    def error_variance(self, predicted_NH: FloatArray) -> FloatArray:
        """Variance of predictions around the truth, [N, H]."""
        return self._at(predicted_NH, self.error_KH)

    def noise_variance(self, predicted_NH: FloatArray) -> FloatArray:
        """Variance of the noise of χ measured with all draws, [N, H]."""
        return self._at(predicted_NH, self.noise_KH)

    def _at(self, predicted_NH: FloatArray, curve_KH: FloatArray) -> FloatArray:
        columns = zip(predicted_NH.T, self.predicted_KH.T, curve_KH.T, strict=True)
        return np.stack([np.interp(m_N, at_K, curve_K) for m_N, at_K, curve_K in columns], 1)
