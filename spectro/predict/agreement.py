"""Correlation of predicted with measured χ, against the ceiling that measurement noise sets.

    reliability ρ of the measurement (of all its draws: Spearman–Brown from halves)
    r with the measured χ ≤ √ρ, so r / √ρ estimates r with the truth

for whole columns, and for what is specific to a component: columns at unit variance, less the mean
of each row, standardised.

Shapes: N tokens, H components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectro.susceptibility.reliability import column_correlation, spearman_brown

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class PredictionAgreement:
    """Per column."""

    r_H: FloatArray
    """Correlation over tokens with the measured χ."""
    ceiling_H: FloatArray
    """√reliability of the measured χ: what the truth itself would reach."""

    @property
    def r_truth_H(self) -> FloatArray:
        """Estimated correlation with the truth; NaN where the measurement is only noise."""
        with np.errstate(invalid="ignore", divide="ignore"):
            r_H: FloatArray = np.where(self.ceiling_H > 0, self.r_H / self.ceiling_H, np.nan)
        return r_H


def specific(chi_NH: FloatArray) -> FloatArray:
    """What is specific to each component, [N, H]; constant columns are zero."""
    unit_NH = _standardised(np.asarray(chi_NH, np.float64))
    return _standardised(unit_NH - unit_NH.mean(1, keepdims=True))


def correlation(first_NH: FloatArray, second_NH: FloatArray) -> FloatArray:
    """Correlation over tokens of each pair of columns, [H]; 0 where one is constant."""
    return np.nan_to_num(column_correlation(first_NH, second_NH))


def agreement(
    predicted_NH: FloatArray, measured_NH: FloatArray, halves_2NH: FloatArray, *, of_halves: int = 2
) -> PredictionAgreement:
    """Agreement of whole columns; give `specific(...)` of all for what is specific.

    Args:
        predicted_NH: predictions that have not seen the draws of `measured_NH`.
        measured_NH: measured χ.
        halves_2NH: χ from the two halves of the draws.
        of_halves: halves that `measured_NH` is the mean of.
    """
    half_H = correlation(halves_2NH[0], halves_2NH[1])
    reliability_H = np.nan_to_num(spearman_brown(half_H, of_halves))
    return PredictionAgreement(
        r_H=correlation(predicted_NH, measured_NH),
        ceiling_H=np.sqrt(np.clip(reliability_H, 0, None)),
    )


def _standardised(values_NH: FloatArray) -> FloatArray:
    centred_NH = values_NH - values_NH.mean(0)
    scale_H = centred_NH.std(0)
    result: FloatArray = centred_NH / np.where(scale_H > 0, scale_H, 1.0)
    return result
