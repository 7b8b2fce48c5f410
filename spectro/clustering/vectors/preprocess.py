"""Fits the transform of χ from moments: column selection, standardising, whitening (ADR 028).

Shapes: N tokens, H components, K columns kept, V principal directions, D of them kept.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.config import ClusterConfig, Preprocess
from spectro.clustering.vectors.directions import (
    Directions,
    direction_reliability,
    principal_directions,
)
from spectro.clustering.vectors.moments import Float64, Moments
from spectro.clustering.vectors.transform import Transform, TransformReport, row_centring
from spectro.clustering.vectors.uniform_mode import (
    UniformMode,
    remove_uniform_mode,
    weighted_centring,
)

__all__ = ["Transform", "fit", "fit_transform", "needs_covariances", "needs_halves"]

ROUNDING = 1e-6
"""Relative variation below which a column is constant."""


def removes_uniform_mode(config: ClusterConfig) -> bool:
    """Whether the uniform mode is removed, if there is one."""
    return config.preprocess is Preprocess.RESTRICTED


def needs_covariances(config: ClusterConfig, *, is_response_unknown: bool = False) -> bool:
    """Whether the fit reads covariances: N·H² steps that unit variance does without.

    `is_response_unknown`: columns have a uniform mode E[φ]·B of unknown B.
    """
    return config.preprocess is Preprocess.WHITEN or (
        removes_uniform_mode(config) and is_response_unknown
    )


def needs_halves(config: ClusterConfig) -> bool:
    """Whether the fit reads the moments of the halves of the chains."""
    by_reliability = config.whiten_reliability is not None or config.weigh_by_reliability
    return config.preprocess is Preprocess.WHITEN and by_reliability


def fit_transform(
    chi_NH: NDArray[Any],
    config: ClusterConfig,
    *,
    reliability_H: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    halves: Moments | None = None,
    mean_phi_H: Sequence[float] | None = None,
    response_N: NDArray[Any] | None = None,
) -> Transform:
    """`fit` to the moments of χ in memory.

    `mean_phi_H` is E[φ] of the columns with the uniform mode E[φ]·B (`two_chain`), `response_N`
    that B.
    """
    shared = None
    if mean_phi_H is not None and removes_uniform_mode(config):
        phi_H, scale_H = np.asarray(mean_phi_H, np.float64), None
        if response_N is not None:
            scale_H = Moments.of(chi_NH, covariances=False).scale_H
            chi_NH = remove_uniform_mode(chi_NH, response_N, phi_H)
        shared = UniformMode(mean_phi_H=phi_H, measured_scale_H=scale_H)
    is_unknown = shared is not None and not shared.has_response
    moments = Moments.of(
        chi_NH, covariances=needs_covariances(config, is_response_unknown=is_unknown)
    )
    return fit(
        moments, config, reliability_H=reliability_H, names=names, halves=halves, shared=shared
    )


def fit(
    moments: Moments,
    config: ClusterConfig,
    *,
    reliability_H: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    halves: Moments | None = None,
    shared: UniformMode | None = None,
) -> Transform:
    """Fit the transform in float64.

    `reliability_H` is the centred split-half reliability of each column, `halves` the moments of
    the 2H columns [χ of the first half of the chains | χ of the second]; both are read if the
    config uses reliability, and the halves also for the report of a whitening. `shared` is the
    uniform mode of the columns (`two_chain`), None without; only `restricted` removes it.

    Raises ValueError for a constant column (its component was not measured), a value that is not
    finite, or an unknown reliability (one chain has no halves).
    """
    num_columns = moments.origin_H.size
    labels = [f"column {h}" for h in range(num_columns)] if names is None else list(names)
    _check_finite(moments, labels)
    constant_H = moments.scale_H <= ROUNDING * moments.largest_H
    reliability = _column_reliability(config, reliability_H, constant_H, labels)
    kept, reasons = _kept_columns(config, reliability, labels)
    _check_constant(constant_H, kept, labels)
    weight = np.ones(kept.size)
    if config.weigh_by_reliability and config.preprocess is not Preprocess.WHITEN:
        weight = np.sqrt(np.clip(reliability[kept], 0.0, 1.0))
    report = TransformReport(reasons=reasons, column_reliability_H=reliability)
    projection: Float64 | None = None
    if config.preprocess is Preprocess.STANDARDISE:
        projection = row_centring(kept.size)
    elif config.preprocess is Preprocess.WHITEN:
        projection, report = _whitening(moments, config, kept, halves, report)
    shared_H = np.zeros(moments.origin_H.size)
    if shared is not None and removes_uniform_mode(config):
        shared.check(labels)
        if shared.measured_scale_H is not None:
            shared_H = shared.mean_phi_H
            report = replace(report, response_share=_response_share(moments, shared, kept))
        else:
            projection, report = _without_response(moments, shared, kept, weight, report)
            weight = moments.scale_H[kept] / shared.mean_phi_H[kept]
    return Transform(
        kind=config.preprocess,
        mean_H=moments.mean_H,
        scale_H=np.where(moments.scale_H > 0, moments.scale_H, 1.0),
        kept_K=kept,
        weight_K=weight,
        projection_KD=projection,
        shared_H=shared_H,
        report=report,
    )


def _response_share(moments: Moments, shared: UniformMode, kept_K: NDArray[np.int64]) -> float:
    """Mean share of the columns' variance removed with E[φ]·B."""
    assert shared.measured_scale_H is not None
    measured_K = shared.measured_scale_H[kept_K]
    return float(1.0 - ((moments.scale_H[kept_K] / measured_K) ** 2).mean())


def _without_response(
    moments: Moments,
    shared: UniformMode,
    kept_K: NDArray[np.int64],
    weight_K: Float64,
    report: TransformReport,
) -> tuple[Float64, TransformReport]:
    """Projection of columns over E[φ] without their weighted mean."""
    phi_K = shared.mean_phi_H[kept_K]
    covariance_KK = moments.covariance_HH[np.ix_(kept_K, kept_K)] / np.outer(phi_K, phi_K)
    projection_KK, row_share = weighted_centring(covariance_KK)
    return projection_KK * weight_K, replace(report, row_share=row_share)


def _check_finite(moments: Moments, labels: list[str]) -> None:
    num_tokens = moments.num_tokens + moments.num_not_finite
    bad = np.flatnonzero(moments.not_finite_H)
    if bad.size:
        raise ValueError(
            f"susceptibilities are not finite in {moments.num_not_finite} of {num_tokens} tokens "
            f"(first in {labels[bad[0]]}): did a chain of that component diverge?"
        )
    if num_tokens < 2:
        shape = (num_tokens, moments.origin_H.size)
        raise ValueError(f"clustering needs χ of shape [N ≥ 2, H], found {shape}")


def _check_constant(
    constant_H: NDArray[np.bool_], kept: NDArray[np.int64], labels: list[str]
) -> None:
    constant = [labels[h] for h in kept if constant_H[h]]
    if constant:
        raise ValueError(
            f"{len(constant)} of {kept.size} columns are the same for every token "
            f"({', '.join(constant[:3])}): was this component perturbed at all?"
        )


def _column_reliability(
    config: ClusterConfig,
    reliability_H: Sequence[float] | None,
    constant_H: NDArray[np.bool_],
    labels: list[str],
) -> Float64:
    """Reliabilities, checked if needed; else as given, or empty."""
    weighs_columns = config.weigh_by_reliability and config.preprocess is not Preprocess.WHITEN
    if config.min_reliability is None and not weighs_columns:
        return np.empty(0) if reliability_H is None else np.asarray(reliability_H, np.float64)
    if reliability_H is None:
        raise ValueError(
            "min_reliability and weigh_by_reliability need the reliability of each column, "
            "found none: does the run have an assembly/summary.json?"
        )
    reliability = np.asarray(reliability_H, np.float64)
    if reliability.shape != constant_H.shape:
        raise ValueError(
            f"found {reliability.size} reliabilities for {constant_H.size} columns: "
            "is the summary from another run?"
        )
    # A constant column has NaN too, and its own error.
    unknown = np.flatnonzero(np.isnan(reliability) & ~constant_H)
    if unknown.size:
        raise ValueError(
            f"the reliability of {unknown.size} of {reliability.size} columns is not known "
            f"(first {labels[unknown[0]]}): halves need at least two chains, did the run have one?"
        )
    return reliability


def _kept_columns(
    config: ClusterConfig, reliability: Float64, labels: list[str]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Kept columns, and the reasons for dropping others."""
    kept = np.arange(len(labels))
    reasons: tuple[str, ...] = ()
    if config.min_reliability is not None:
        below = reliability < config.min_reliability
        kept = np.flatnonzero(~below)
        reasons = _reason("columns", below, f"reliability below {config.min_reliability:g}", labels)
    if kept.size < 2:
        raise ValueError(
            f"clustering needs at least 2 columns, found {kept.size} of {len(labels)} with "
            f"reliability ≥ {config.min_reliability}: row centring leaves nothing of one column"
        )
    return kept.astype(np.int64), reasons


def _whitening(
    moments: Moments,
    config: ClusterConfig,
    kept_K: NDArray[np.int64],
    halves: Moments | None,
    report: TransformReport,
) -> tuple[Float64, TransformReport]:
    """Whitening projection, and the report of what was dropped."""
    scale_K = moments.scale_H[kept_K]
    covariance_KK = moments.covariance_HH[np.ix_(kept_K, kept_K)] / np.outer(scale_K, scale_K)
    directions = principal_directions(covariance_KK)
    reliability_V = np.empty(0)
    if halves is not None or needs_halves(config):
        raw_HV = np.zeros((moments.origin_H.size, kept_K.size))
        raw_HV[kept_K] = directions.vector_KV / scale_K[:, None]
        reliability_V = direction_reliability(_checked_halves(halves, moments), raw_HV)
    kept_V, rule = _kept_directions(config, directions, reliability_V)
    kept_D = np.flatnonzero(kept_V)
    projection = directions.whitening(kept_D)
    if config.weigh_by_reliability:
        projection = projection * np.sqrt(np.clip(reliability_V[kept_D], 0.0, 1.0))
    return projection, TransformReport(
        reasons=(*report.reasons, *_reason("directions", ~kept_V, rule)),
        column_reliability_H=report.column_reliability_H,
        direction_variance_V=directions.share_V,
        direction_reliability_V=reliability_V,
        kept_directions_D=kept_D,
    )


def _kept_directions(
    config: ClusterConfig, directions: Directions, reliability_V: Float64
) -> tuple[NDArray[np.bool_], str]:
    """Directions by reliability, else the fewest that hold the variance."""
    if config.whiten_reliability is None:
        num_kept = int(np.searchsorted(np.cumsum(directions.share_V), config.whiten_variance)) + 1
        kept_V = directions.usable_V & (np.arange(directions.share_V.size) < num_kept)
        return kept_V, f"beyond {config.whiten_variance:g} of the variance"
    kept_V = directions.usable_V & (reliability_V >= config.whiten_reliability)
    if not kept_V.any():
        raise ValueError(
            f"no principal direction has a reliability of {config.whiten_reliability:g}, the best "
            f"has {reliability_V.max():.2g}: are the draws too few for this threshold?"
        )
    return kept_V, f"reliability below {config.whiten_reliability:g}"


def _checked_halves(halves: Moments | None, moments: Moments) -> Moments:
    if halves is None:
        raise ValueError(
            "whiten_reliability and weigh_by_reliability of directions need χ of two halves of the "
            "chains, found none: halves need at least two chains, did the run have one?"
        )
    if halves.num_not_finite:
        raise ValueError(
            f"χ of the halves is not finite in {halves.num_not_finite} of "
            f"{halves.num_tokens + halves.num_not_finite} tokens: halves need at least two chains, "
            "did the run have one?"
        )
    expected = (moments.num_tokens, 2 * moments.origin_H.size)
    found = (halves.num_tokens, halves.origin_H.size)
    if found != expected:
        raise ValueError(
            f"χ of the halves has shape {found}, expected {expected}: are the halves of all "
            "shards there, and of this run?"
        )
    return halves


def _reason(
    what: str, dropped: NDArray[np.bool_], rule: str, labels: list[str] | None = None
) -> tuple[str, ...]:
    """A line with the count and the first three names of what was dropped, if any."""
    which = np.flatnonzero(dropped)
    if not which.size:
        return ()
    named = "" if labels is None else f" ({', '.join(labels[h] for h in which[:3])})"
    return (f"{which.size} of {dropped.size} {what} dropped: {rule}{named}",)
