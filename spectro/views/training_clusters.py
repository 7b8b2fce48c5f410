"""Clusters of runs that differ by their model's checkpoint: kept, merged, split, gone, born."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from spectro.analysis.cluster_flow import Fate, FlowShares, by_chance, cluster_flow
from spectro.analysis.cluster_lineages import (
    CheckpointFlow,
    ClusteredCheckpoint,
    ClustersOverTraining,
    lineages,
)
from spectro.clustering.matching import Clustering
from spectro.formats.clusters.clusterings import (
    StoredClustering,
    find_clustering,
    read_clustering,
    shared_rows,
)
from spectro.formats.clusters.clusters import PROVENANCE
from spectro.storage.store import Store
from spectro.views.cluster_names import NUM_COMMON, cluster_names
from spectro.views.cluster_tables import ragged
from spectro.views.run_view import DEFAULT_CLUSTERS, RunView
from spectro.views.token_contexts import vocabulary_of
from spectro.views.training import checkpoints_of

HALVES = ("half-0", "half-1")
"""Clusters of disjoint halves of the chains, within those of all."""


def clusters_over_training(uris: Sequence[str], *, seed: int = 0) -> ClustersOverTraining:
    """Fates and origins of clusters from each checkpoint to the next, on the same text.

    Args:
        uris: runs or folders of clusters, one for each checkpoint, in any order; all other
            settings alike, those of the clusters too.
        seed: key of the shuffles.

    Raises ValueError, in one line, as `checkpoints_of`, for runs without clusters, and for
    neighbours without a sequence in common; DamagedObjectError.
    """
    checkpoints = checkpoints_of(uris)
    views = [view for _, view in checkpoints]
    stored = [read_clustering(find_clustering(_place(view))) for view in views]
    for view, own in zip(views[1:], stored[1:], strict=True):
        _require_alike((views[0], stored[0]), (view, own))
    between = [_between_halves(view) for view in views]
    flows = [
        _flow(before, after, views[index], between[index - 1 : index + 1], seed)
        for index, (before, after) in enumerate(pairwise(stored), 1)
    ]
    found = lineages([own.size_C.size for own in stored], [own.flow for own in flows])
    return ClustersOverTraining(
        checkpoints=tuple(
            _checkpoint(step, view, own)
            for (step, view), own in zip(checkpoints, stored, strict=True)
        ),
        flows=tuple(flows),
        lineages=tuple(found),
    )


def _place(view: RunView) -> str:
    return view.uri if view.folder == DEFAULT_CLUSTERS else view.store.child(view.folder).uri


def _require_alike(
    first: tuple[RunView, StoredClustering], other: tuple[RunView, StoredClustering]
) -> None:
    """Flows compare checkpoints, not ways of clustering."""
    (view_a, a), (view_b, b) = first, other
    settings_a, settings_b = a.provenance["config"], b.provenance["config"]
    differ = [name for name in settings_a if settings_b.get(name) != settings_a[name]]
    if view_a.is_half != view_b.is_half:
        differ = ["half of the chains", *differ]
    if differ:
        raise ValueError(
            f"the clusters of {_place(view_b)} differ from those of {_place(view_a)} in "
            f"{differ[0]!r}, expected clusters made alike: see spectro compare"
        )


def _flow(
    before: StoredClustering,
    after: StoredClustering,
    view: RunView,
    between_halves: Sequence[FlowShares | None],
    seed: int,
) -> CheckpointFlow:
    row_a, row_b, num_rows = shared_rows(before, after)
    a, b = before.among(row_a, num_rows), after.among(row_b, num_rows)
    y_N = np.empty(num_rows, np.int64)
    y_of_id_N = np.asarray(view.labels(["token"])["token"].combine_chunks())[: row_b.size]
    y_N[row_b[row_b >= 0]] = y_of_id_N[row_b >= 0]
    return CheckpointFlow(
        flow=cluster_flow(a, b),
        chance=by_chance(a, b, seed=seed),
        chance_same_y=by_chance(a, b, seed=seed, within_N=y_N),
        other_draws=_less_alike(between_halves),
    )


def _less_alike(found: Sequence[FlowShares | None]) -> FlowShares | None:
    """The checkpoint whose halves share fewer clusters; None where one has no clusters of them."""
    known = [own for own in found if own is not None]
    if len(known) < len(found):
        return None
    return max(known, key=lambda own: float(np.nan_to_num(own.fates[Fate.GONE])))


def _between_halves(view: RunView) -> FlowShares | None:
    """From each half of the chains to the other; None without clusters of both."""
    folder = view.store.child(view.folder)
    if not all(folder.exists(f"{half}/{PROVENANCE}") for half in HALVES):
        return None
    first, second = (_whole(folder.child(half)) for half in HALVES)
    return FlowShares.mean_of([cluster_flow(first, second), cluster_flow(second, first)])


def _whole(folder: Store) -> Clustering:
    stored = read_clustering(find_clustering(folder.uri))
    rows: npt.NDArray[np.int64] = np.arange(stored.num_tokens)
    return stored.among(rows, stored.num_tokens)


def _checkpoint(step: int, view: RunView, stored: StoredClustering) -> ClusteredCheckpoint:
    known = vocabulary_of(view)
    tops_KT = ragged(view.clusters.clusters["top_tokens"], NUM_COMMON, np.int64, -1)
    return ClusteredCheckpoint(
        name=stored.place.name,
        step=step,
        num_tokens=stored.num_tokens,
        num_clustered=int(np.unique(stored.token_id_M).size),
        size_C=tuple(stored.size_C.tolist()),
        shown_C=cluster_names(view, known).or_common(known, tops_KT),
    )
