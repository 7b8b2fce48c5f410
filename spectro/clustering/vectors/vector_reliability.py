"""Split-half reliability of the vectors that clustering uses.

Shapes: n tokens of a shard, D dimensions.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import isnan

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.config import Preprocess
from spectro.clustering.vectors.transform import Transform
from spectro.susceptibility.reliability import spearman_brown

Float64 = NDArray[np.float64]
Vectors = NDArray[np.float32]


class VectorAgreement:
    """Accumulates, in shard order, vectors of all chains and of the halves."""

    def __init__(self, num_dimensions: int) -> None:
        self._whole = _Products(num_dimensions)
        self._halves = _Products(num_dimensions)

    def add_whole(self, x_nD: Vectors) -> None:
        self._whole.add(x_nD, x_nD)

    def add_halves(self, first_nD: Vectors, second_nD: Vectors) -> None:
        """Vectors of a shard from each half of the chains, with the half's E[φ] and B."""
        self._halves.add(first_nD, second_nD)

    def reported(self, transform: Transform) -> Transform:
        """The transform with a completed report.

        `dimension_reliability_D` is the correlation of the halves over tokens; `reliability` is Σ_d
        cov_d / √(Σ_d var_d of one half · Σ_d var_d of the other). `row_share` is known if vectors
        of all chains were added (`standardise`).
        """
        report = transform.report
        if self._whole.count:
            before = float((transform.weight_K**2).sum())
            left = float(self._whole.covariances[0].sum())
            report = replace(report, row_share=1.0 - left / before)
        if self._halves.count:
            aa_D, bb_D, ab_D = self._halves.covariances
            total = np.sqrt(aa_D.sum(keepdims=True) * bb_D.sum(keepdims=True))
            report = replace(
                report,
                dimension_reliability_D=_ratio(ab_D, np.sqrt(aa_D * bb_D)),
                reliability=float(_ratio(ab_D.sum(keepdims=True), total)[0]),
            )
        return replace(transform, report=report)


def _ratio(covariance_D: Float64, scale_D: Float64) -> Float64:
    varies_D = scale_D > 0
    return np.where(varies_D, covariance_D / np.where(varies_D, scale_D, 1.0), 0.0)


class _Products:
    """Sums and products of two sets of vectors per dimension."""

    def __init__(self, num_dimensions: int) -> None:
        self.count = 0
        self._sums_2D = np.zeros((2, num_dimensions))
        self._products_3D = np.zeros((3, num_dimensions))

    def add(self, a_nD: Vectors, b_nD: Vectors) -> None:
        """Vectors of the same tokens, with means near zero: plain sums lose nothing."""
        a, b = a_nD.astype(np.float64), b_nD.astype(np.float64)
        self.count += len(a)
        self._sums_2D += [a.sum(0), b.sum(0)]
        self._products_3D += [(a * a).sum(0), (b * b).sum(0), (a * b).sum(0)]

    @property
    def covariances(self) -> tuple[Float64, Float64, Float64]:
        (a, b), (aa, bb, ab) = self._sums_2D / self.count, self._products_3D / self.count
        return aa - a * a, bb - b * b, ab - a * b


def report_lines(transform: Transform, components: Sequence[str]) -> tuple[str, ...]:
    """Sentences on the transform and its reliability."""
    report, what = transform.report, _WHAT[transform.kind]
    if transform.needs_response:
        what = "χ without E[φ]·B, each column at unit variance"
    elif transform.kind is Preprocess.RESTRICTED and transform.projection_KD is not None:
        what = "χ / E[φ] without the weighted mean of each row, each column at unit variance"
    lines = [f"Vectors: {what}; {transform.num_dimensions} dimensions."]
    if not isnan(report.response_share):
        share = report.response_share
        lines.append(f"E[φ]·B, which all columns share, was {share:.1%} of their variance.")
    if not isnan(report.row_share):
        lines.append(f"The mean of the rows was {report.row_share:.1%} of the columns' variance.")
    if not isnan(report.reliability):
        lines.append(_agreement_line(transform, components))
    return tuple(lines)


_WHAT = {
    Preprocess.RESTRICTED: "each column at unit variance",
    Preprocess.STANDARDISE: "each column at unit variance, then each row at mean zero",
    Preprocess.WHITEN: "principal directions of the standardised columns, each at unit variance",
}


def _agreement_line(transform: Transform, components: Sequence[str]) -> str:
    r_D, r = transform.report.dimension_reliability_D, transform.report.reliability
    names = [f"direction {d}" for d in range(r_D.size)]
    if transform.kind is not Preprocess.WHITEN:
        names = [components[h] for h in transform.kept_K]
    low, high = int(r_D.argmin()), int(r_D.argmax())
    whole = float(spearman_brown(r)) if r > 0 else r
    return (
        f"Two halves of the chains agree on the vectors at r = {r:.2f}, of all chains that makes "
        f"{whole:.2f}; by dimension {r_D[low]:.2f} ({names[low]}) to "
        f"{r_D[high]:.2f} ({names[high]}), median {np.median(r_D):.2f}."
    )
