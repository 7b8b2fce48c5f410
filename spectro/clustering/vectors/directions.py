"""Principal directions of the standardised columns, and their reliability.

Shapes: H components, K columns kept, V principal directions (V = K), D of them kept.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from spectro.clustering.vectors.moments import Moments
from spectro.susceptibility.reliability import spearman_brown

Float64 = NDArray[np.float64]

LEAST_VARIANCE = 1e-10
"""Smaller shares of the largest variance are rounding errors."""


@dataclass(frozen=True, kw_only=True)
class Directions:
    """Eigenvectors of a covariance, largest variance first."""

    variance_V: Float64
    """Variance along each direction."""
    vector_KV: Float64
    """Unit vectors as columns; the largest entry is positive."""

    @property
    def share_V(self) -> Float64:
        """Share of the whole variance."""
        share: Float64 = self.variance_V / self.variance_V.sum()
        return share

    @property
    def usable_V(self) -> NDArray[np.bool_]:
        """Whether the variance exceeds rounding."""
        usable: NDArray[np.bool_] = self.variance_V > self.variance_V[0] * LEAST_VARIANCE
        return usable

    def whitening(self, kept_D: NDArray[np.int64]) -> Float64:
        """Whitening projection [K, D] onto the kept directions."""
        projection: Float64 = self.vector_KV[:, kept_D] / np.sqrt(self.variance_V[kept_D])
        return projection


def principal_directions(covariance_KK: Float64) -> Directions:
    """Eigen-decomposition in one thread, for reproducible bits."""
    with threadpool_limits(limits=1, user_api="blas"):
        values, vectors = np.linalg.eigh(covariance_KK)
    values, vectors = values[::-1], vectors[:, ::-1]
    peak = np.abs(vectors).argmax(axis=0)
    signs = np.sign(vectors[peak, np.arange(values.size)])
    return Directions(variance_V=values, vector_KV=vectors * signs)


def direction_reliability(halves: Moments, raw_HV: Float64) -> Float64:
    """Reliability of the whole estimate along linear functionals of χ, [V].

    With C the covariance of the 2H columns [χ of the first half | χ of the second half of the
    chains] and u a functional (a direction over the columns' scales),

        r = uᵀ C_ab u / √(uᵀ C_aa u · uᵀ C_bb u),      reliability = 2 r / (1 + r)  for r > 0

    (Spearman 1910, Brown 1910: the whole has twice the chains of a half); r itself where it is not
    positive, 0 where a half does not vary along u.
    """
    num_columns = raw_HV.shape[0]
    covariance = halves.covariance_HH
    first, second = slice(0, num_columns), slice(num_columns, None)

    def along(rows: slice, columns: slice) -> Float64:
        with threadpool_limits(limits=1, user_api="blas"):
            image_HV = covariance[rows, columns] @ raw_HV
        result: Float64 = (raw_HV * image_HV).sum(axis=0)
        return result

    product_V = along(first, first) * along(second, second)
    between_V = along(first, second)
    scale_V = np.sqrt(np.where(product_V > 0, product_V, 1.0))
    r_V = np.where(product_V > 0, between_V / scale_V, 0.0)
    return np.where(r_V > 0, spearman_brown(r_V), r_V)
