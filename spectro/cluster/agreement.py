"""How far two halves of the chains agree on the vectors that clusters see.

Shapes: n tokens of a shard, D dimensions.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spectro.cluster.config import Preprocess
from spectro.cluster.transform import Transform

Float64 = NDArray[np.float64]
Vectors = NDArray[np.float32]


class Agreement:
    """Sums over shards, taken in their order, of the vectors of all chains and of the halves."""

    def __init__(self, num_dimensions: int) -> None:
        self._whole = _Products(num_dimensions)
        self._halves = _Products(num_dimensions)

    def add(self, whole_nD: Vectors, halves: tuple[Vectors, Vectors] | None) -> None:
        """A shard: vectors of all chains, and of either half where halves are kept.

        The halves' are those of the same transform, with their own E[φ] and B where it takes
        E[φ]·B out.
        """
        self._whole.add(whole_nD, whole_nD)
        if halves is not None:
            self._halves.add(*halves)

    def reported(self, transform: Transform) -> Transform:
        """The transform with what was found in its report.

        `dimension_reliability_D` is the correlation of the halves over tokens; `reliability` is
        Σ_d cov_d / √(Σ_d var_d of one half · Σ_d var_d of the other).
        """
        report = transform.report
        if transform.kind is Preprocess.STANDARDISE:
            before = float((transform.weight_K**2).sum())
            left = float(self._whole.covariances[0].sum())
            report = replace(report, row_share=1.0 - left / before)
        if self._halves.count:
            aa_D, bb_D, ab_D = self._halves.covariances
            scale_D = np.sqrt(aa_D * bb_D)
            total = float(np.sqrt(aa_D.sum() * bb_D.sum()))
            report = replace(
                report,
                dimension_reliability_D=np.where(
                    scale_D > 0, ab_D / np.where(scale_D > 0, scale_D, 1), 0.0
                ),
                reliability=float(ab_D.sum()) / total if total > 0 else 0.0,
            )
        return replace(transform, report=report)


class _Products:
    """Means and products of two sets of vectors, dimension by dimension."""

    def __init__(self, num_dimensions: int) -> None:
        self.count = 0
        self._sums_2D = np.zeros((2, num_dimensions))
        self._products_3D = np.zeros((3, num_dimensions))

    def add(self, a_nD: Vectors, b_nD: Vectors) -> None:
        """Vectors of the same tokens, whose means are near zero: plain sums lose nothing."""
        a, b = a_nD.astype(np.float64), b_nD.astype(np.float64)
        self.count += len(a)
        self._sums_2D += [a.sum(0), b.sum(0)]
        self._products_3D += [(a * a).sum(0), (b * b).sum(0), (a * b).sum(0)]

    @property
    def covariances(self) -> tuple[Float64, Float64, Float64]:
        """Variances of both and their covariance, [D] each."""
        (a, b), (aa, bb, ab) = self._sums_2D / self.count, self._products_3D / self.count
        return aa - a * a, bb - b * b, ab - a * b
