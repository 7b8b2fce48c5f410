"""The uniform mode E[φ]·B of a `two_chain` product, and its removal (ADR 065).

    χ_C = own_C + E[φ_C]·B,      own_C = −E_C[φ (Δℓ − ΔL)], the `restricted` estimator

With the tokens' response B, own is χ − E[φ]·B exactly, noise of B included: it is the same in every
column. Without it every χ_C / E[φ_C] has exactly one B, so its difference to any weighted mean over
columns has none. The weights are the inverse variance of a column's difference to the plain mean.

Shapes: N tokens, H components, K columns kept.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class UniformMode:
    """The uniform mode of all columns."""

    mean_phi_H: Float64
    """E[φ] of each column, nats."""
    measured_scale_H: Float64 | None = None
    """Standard deviation of each measured column if B is known and the fit's moments are of χ −
    E[φ]·B; None if B is unknown and they are of χ."""

    @property
    def has_response(self) -> bool:
        return self.measured_scale_H is not None

    def check(self, labels: list[str]) -> None:
        """Raise ValueError unless every column has a finite, usable E[φ]."""
        if self.mean_phi_H.shape != (len(labels),):
            raise ValueError(
                f"found the amount of the shared response in {self.mean_phi_H.size} columns, "
                f"expected {len(labels)}: is the summary from another run?"
            )
        bad = ~np.isfinite(self.mean_phi_H) | ((self.mean_phi_H == 0) & (not self.has_response))
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"the amount of the shared response in {labels[first]} is "
                f"{self.mean_phi_H[first]}, expected a finite number other than 0: did its draws "
                "move the model? cluster.preprocess=standardise does without"
            )


def remove_uniform_mode(
    chi_NH: NDArray[np.floating], response_N: NDArray[np.floating], mean_phi_H: Float64
) -> Float64:
    """χ − E[φ]·B in float64: the `restricted` estimate."""
    own_NH: Float64 = chi_NH - response_N.astype(np.float64)[:, None] * mean_phi_H
    return own_NH


def weighted_centring(covariance_KK: Float64) -> tuple[Float64, float]:
    """Projection [K, K] that subtracts a weighted row mean, then scales columns to unit variance.

    `covariance_KK` is of columns with equal amounts of B. Also returns the mean share of variance
    removed. ValueError if a column is only the mean of all.
    """
    num_columns = covariance_KK.shape[0]
    plain_KK = np.eye(num_columns) - 1.0 / num_columns
    differs_K = _variances(covariance_KK, plain_KK)
    _require_own(differs_K, covariance_KK)
    weight_K = 1.0 / differs_K
    weight_K /= weight_K.sum()
    centring_KK = np.eye(num_columns) - weight_K[:, None]
    own_K = _variances(covariance_KK, centring_KK)
    _require_own(own_K, covariance_KK)
    projection_KK: Float64 = centring_KK / np.sqrt(own_K)
    return projection_KK, float(1.0 - (own_K / np.diag(covariance_KK)).mean())


def _variances(covariance_KK: Float64, projection_KD: Float64) -> Float64:
    """Variances of the columns of x @ projection, [D]."""
    variances: Float64 = np.einsum("kd,kj,jd->d", projection_KD, covariance_KK, projection_KD)
    return variances


def _require_own(variance_K: Float64, covariance_KK: Float64) -> None:
    if (variance_K <= 1e-10 * np.diag(covariance_KK).max()).any():
        raise ValueError(
            "columns have nothing of their own beside the shared response: was its amount in the "
            "summary taken from another run?"
        )
