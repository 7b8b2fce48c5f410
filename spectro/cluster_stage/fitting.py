"""The transform unit: fits the transform to all rows and measures its reliability."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.cluster_stage.units import HALVES, TransformUnit
from spectro.cluster_stage.vectors import chi_of, rows_of, with_response
from spectro.clustering.config import ClusterConfig, Preprocess
from spectro.clustering.knn.search import require_enough
from spectro.clustering.vectors.moments import Moments, merge
from spectro.clustering.vectors.preprocess import (
    fit,
    needs_covariances,
    needs_halves,
    removes_uniform_mode,
)
from spectro.clustering.vectors.transform import Transform
from spectro.clustering.vectors.uniform_mode import UniformMode, remove_uniform_mode
from spectro.clustering.vectors.vector_reliability import VectorAgreement
from spectro.config import to_dict
from spectro.formats.derived_objects import put_derived
from spectro.formats.halves import NoHalvesError, read_halves
from spectro.formats.product import SUMMARY_NAME, read_head
from spectro.storage.checksummed_json import read_sealed, with_nan
from spectro.storage.store import Store
from spectro.susceptibility.estimator import EstimatorKind
from spectro.work.stage import OnProgress, ShouldStop, WorkerContext

Floats = npt.NDArray[np.float64]


def make_transform(
    unit: TransformUnit, context: WorkerContext, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Moments of every shard, merged in order; the transform that fits them; what halves say."""
    store, run_config = context.of(unit)
    config = run_config.cluster
    require_enough(unit.layout.num_rows, config.num_neighbours)
    num_shards, head = len(unit.layout.shard_rows), read_head(store, 0)
    summary = with_nan(read_sealed(store, SUMMARY_NAME))
    has_shared = run_config.estimator.kind is EstimatorKind.TWO_CHAIN and removes_uniform_mode(
        config
    )
    phi_H = _mean_phi(summary, unit.half) if has_shared else None
    fitting = _Fitting(unit, store, config, phi_H)
    for shard in range(num_shards):
        fitting.add(shard)
        on_progress(shard + 1, 2 * num_shards)
    transform = fit(
        fitting.own,
        config,
        reliability_H=summary["centred_reliability"],
        names=head.components,
        halves=fitting.halves,
        shared=fitting.shared,
    )
    if unit.half is None:
        transform = _with_agreement(transform, store, num_shards, summary, phi_H, on_progress)
    content: dict[str, Any] = {
        "config": to_dict(config),
        "half": unit.half,
        "num_tokens": unit.layout.num_rows,
        "components": list(head.components),
        "product_fingerprint": head.fingerprint,
        "transform": transform.to_dict(),
    }
    put_derived(store, unit.names[0], content, unit.probe_sha256)


class _Fitting:
    """Accumulates the moments that `fit` reads."""

    own: Moments
    halves: Moments | None = None

    def __init__(
        self, unit: TransformUnit, store: Store, config: ClusterConfig, phi_H: Floats | None
    ) -> None:
        self._half, self._store, self._config, self._phi_H = unit.half, store, config, phi_H
        self._measured: Moments | None = None
        self._has_response = phi_H is not None and not _lacks_response(store, unit.half)
        self._covariances = needs_covariances(
            config, is_response_unknown=phi_H is not None and not self._has_response
        )

    @property
    def shared(self) -> UniformMode | None:
        """The uniform mode, after the last shard."""
        if self._phi_H is None:
            return None
        scale_H = None if self._measured is None else self._measured.scale_H
        return UniformMode(mean_phi_H=self._phi_H, measured_scale_H=scale_H)

    def add(self, shard: int) -> None:
        """Add the next shard."""
        of_shard = Moments.of(self._own_chi(shard), covariances=self._covariances)
        self.own = _joined(getattr(self, "own", None), of_shard)
        if needs_halves(self._config):
            both = read_halves(self._store, shard)
            of_both = Moments.of(np.hstack([both.chi_first_NH, both.chi_second_NH]))
            self.halves = _joined(self.halves, of_both)

    def _own_chi(self, shard: int) -> npt.NDArray[np.floating]:
        """χ of a shard, without E[φ]·B if B is known."""
        if not self._has_response:
            return chi_of(self._store, self._half, shard)
        assert self._phi_H is not None
        chi_nH, response_n = with_response(self._store, self._half, shard)
        self._measured = _joined(self._measured, Moments.of(chi_nH, covariances=False))
        return remove_uniform_mode(chi_nH, response_n, self._phi_H)


def _joined(before: Moments | None, of_shard: Moments) -> Moments:
    return of_shard if before is None else merge(before, of_shard)


def _lacks_response(store: Store, half: Any) -> bool:
    """Whether B is unknown (NaN everywhere)."""
    return bool(np.isnan(with_response(store, half, 0)[1]).all())


def _mean_phi(summary: Mapping[str, Any], half: int | None) -> Floats:
    """E[φ] of every column over all chains or one half, nats."""
    if half is None and "mean_phi" in summary:
        return np.array(summary["mean_phi"], np.float64)
    if half is None:
        raise ValueError(
            "the summary does not say how much of the shared response each column has: an earlier "
            "version measured this run; cluster.preprocess=standardise does without"
        )
    of_halves = summary.get("mean_phi_of_halves", ())
    if not of_halves or not all(isinstance(both, list) for both in of_halves):
        raise NoHalvesError(
            "the summary does not say how much of the shared response each column has in either "
            "half of the chains: an earlier version measured this run, or token shards have "
            "draws of their own; cluster.stability=false or "
            "cluster.preprocess=standardise does without"
        )
    return np.array([both[half] for both in of_halves], np.float64)


def _with_agreement(
    transform: Transform,
    store: Store,
    num_shards: int,
    summary: Mapping[str, Any],
    phi_H: Floats | None,
    on_progress: OnProgress,
) -> Transform:
    """A second pass over the rows completes the report."""
    of_halves: list[Transform] | None = None
    with suppress(NoHalvesError, FileNotFoundError):
        read_halves(store, 0)
        of_halves = _of_halves(transform, summary, phi_H)
    if of_halves is None and transform.kind is not Preprocess.STANDARDISE:
        return transform
    agreement = VectorAgreement(transform.num_dimensions)
    for shard in range(num_shards):
        if transform.kind is Preprocess.STANDARDISE:
            agreement.add_whole(transform.apply(chi_of(store, None, shard)))
        if of_halves is not None:
            agreement.add_halves(*_vectors_of_halves(of_halves, store, shard))
        on_progress(num_shards + shard + 1, 2 * num_shards)
    return agreement.reported(transform)


def _of_halves(
    transform: Transform, summary: Mapping[str, Any], phi_H: Floats | None
) -> list[Transform]:
    """The transform for each half of the chains, with the half's E[φ]."""
    if phi_H is None:
        return [transform for _ in HALVES]
    own = [_mean_phi(summary, half) for half in HALVES]
    if transform.needs_response:
        return [replace(transform, shared_H=own_H) for own_H in own]
    kept = transform.kept_K
    return [
        replace(transform, weight_K=transform.weight_K * phi_H[kept] / own_H[kept]) for own_H in own
    ]


def _vectors_of_halves(
    of_halves: list[Transform], store: Store, shard: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    first, second = (
        own.apply(*rows_of(store, half, shard, own))
        for half, own in zip(HALVES, of_halves, strict=True)
    )
    return first, second
