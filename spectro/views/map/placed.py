"""Which tokens and clusters of a run are drawn, and where: positions, columns, regions.

Shapes: N tokens of the run, n drawn, K clusters, M members, D coordinates, P subsets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.analysis.naming.name_sets import MemberSets
from spectro.clustering.cluster_sums import NUM_TOP_TOKENS
from spectro.clustering.config import NUM_NEIGHBOURS
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.autoencoder.stored import StoredMatch
from spectro.views.cluster_examples import examples
from spectro.views.cluster_tables import (
    array,
    floats,
    how_it_holds,
    matrix,
    members,
    ragged,
    smallest_cluster,
    subset_counts,
    subset_dtype,
    subsets,
)
from spectro.views.make_names import name_token_sets
from spectro.views.map.assigned import AssignedTokens, read_assigned_tokens
from spectro.views.map.columns import first_of_each, on_grid
from spectro.views.map.config import MapConfig
from spectro.views.map.data_files import ClusterColumns, TokenColumns
from spectro.views.map.features import features_shown, read_features
from spectro.views.map.layout import Clustered, Places, draw, drawn_members, place
from spectro.views.map.regions import Laid, Region, find_regions
from spectro.views.page.report_data import control_matches
from spectro.views.run_view import RunView

_ASSIGNED_KEY = 0x61737367  # keeps this stream apart
OnProgress = Callable[[float, float], None]


@dataclass(frozen=True, kw_only=True)
class Placed:
    """What is drawn of a run, and where."""

    tokens: TokenColumns
    """Those drawn."""
    clusters: ClusterColumns
    """All of them."""
    regions: list[Region]
    """Groups of clusters."""
    layout: dict[str, Any]
    """How positions were made."""
    num_tokens: int
    """Tokens of the run, drawn or not."""
    assigned: AssignedTokens | None
    """Clusters of tokens that were added later, where they are known."""
    features: StoredMatch | None
    """Features of the clusters, where they were matched to an autoencoder."""


def read_placed(
    view: RunView,
    config: MapConfig,
    known: Vocabulary,
    on_progress: OnProgress = lambda done, total: None,
) -> Placed:
    """Tokens, clusters and regions with their positions.

    Args:
        view: of a run with clusters, all of its tokens measured.
        config: what is drawn, and how.
        known: the vocabulary, which regions are named by.
        on_progress: called with tokens placed and tokens in all.

    Raises ValueError, in one line, where parts of the run are missing.
    """
    require_whole(view)
    labels, features = view.labels(["subset", "token", "loss"]), read_features(view)
    clustered, assigned = _clustered(view), read_assigned_tokens(view)
    row_n = draw(labels.num_rows, config)
    places = place(row_n, _Vectors(view, len(row_n), on_progress), clustered, config)
    columns, laid = _clusters(view, clustered, places, row_n, array(labels["loss"]), config)
    if assigned is not None:
        columns |= _assigned_shown(assigned, len(columns["size"]), config)
    columns |= features_shown(features)
    columns["region"], regions = find_regions(laid, config)
    regions = _named(view, known, clustered, columns["region"], regions)
    return Placed(
        tokens=_tokens(view, labels, _cluster_of(clustered, assigned, labels.num_rows), places,
                       row_n),
        clusters=ClusterColumns(**columns),
        regions=regions,
        layout=places.layout,
        num_tokens=labels.num_rows,
        assigned=assigned,
        features=features,
    )  # fmt: skip


def _named(
    view: RunView,
    known: Vocabulary,
    clustered: Clustered,
    region_K: npt.NDArray[np.integer],
    regions: list[Region],
) -> list[Region]:
    """The regions with the names of their clusters' members, each token once."""
    region_M = region_K[clustered.cluster_M].astype(np.int64)
    pairs = np.stack([region_M, clustered.row_M.astype(np.int64)], axis=1)[region_M >= 0]
    pairs = np.unique(pairs, axis=0)
    sets = MemberSets(token_id_M=pairs[:, 1], set_M=pairs[:, 0], num_sets=len(regions))
    names = name_token_sets(view, known, sets)
    return [replace(region, name=name) for region, name in zip(regions, names, strict=True)]


def require_whole(view: RunView) -> None:
    """Raise ValueError, in one line, for the clusters of a half: its χ is in another space."""
    if view.is_half:
        raise ValueError(
            f"{view.uri}/{view.folder} has the clusters of a half of the chains, which are in the "
            f"space of that half alone: take {view.uri}/{view.folder.rpartition('/')[0]}"
        )


class _Vectors:
    """χ of some rows under the clusters' transform, a token shard at a time."""

    def __init__(self, view: RunView, num_drawn: int, on_progress: OnProgress) -> None:
        self._view, self._num_drawn, self._on_progress = view, num_drawn, on_progress
        self._num_done = 0

    def __call__(
        self, row_m: npt.NDArray[np.integer]
    ) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """Which of the ascending rows, and their vectors; no shard is read if none are asked."""
        if not row_m.size:
            return
        transform = self._view.clusters.transform
        for first, chi_bH in self._view.shards():
            low, high = np.searchsorted(row_m, [first, first + len(chi_bH)]).tolist()
            if low < high:
                chosen_n = row_m[low:high]
                response_n = self._view.response(chosen_n)
                yield slice(low, high), transform.apply(chi_bH[chosen_n - first], response_n)
                self._num_done += high - low
                self._on_progress(self._num_done, self._num_drawn)


def _clustered(view: RunView) -> Clustered:
    """Members and centroids; ValueError where a member is no token of the run."""
    stored = view.clusters
    row_M, cluster_M = members(view)
    return Clustered(
        centroid_KD=matrix(stored.clusters["centroid"], stored.transform.num_dimensions),
        row_M=row_M,
        cluster_M=cluster_M,
    )


def _cluster_of(
    clustered: Clustered, assigned: AssignedTokens | None, num_tokens: int
) -> npt.NDArray[np.int32]:
    """Cluster of every token [N], −1 in none; −2 − c where it was assigned to c later."""
    cluster_N = smallest_cluster(clustered.row_M, clustered.cluster_M, num_tokens)
    if assigned is not None:
        inside_M = assigned.cluster_M >= 0
        cluster_N[assigned.token_id_M[inside_M]] = -2 - assigned.cluster_M[inside_M]
    return cluster_N


def _tokens(
    view: RunView,
    labels: pa.Table,
    cluster_N: npt.NDArray[np.int32],
    places: Places,
    row_n: npt.NDArray[np.int64],
) -> TokenColumns:
    """Columns of the tokens drawn."""
    grid_n2 = on_grid(places.xy_n2)
    return TokenColumns(
        x=grid_n2[:, 0],
        y=grid_n2[:, 1],
        cluster=cluster_N[row_n],
        subset=subsets(labels["subset"], view.subset_names)[row_n],
        token=array(labels["token"])[row_n].astype(np.uint32),
        token_id=row_n.astype(np.float64),
        loss=array(labels["loss"])[row_n].astype(np.float32),
    )


def _clusters(
    view: RunView,
    clustered: Clustered,
    places: Places,
    row_n: npt.NDArray[np.int64],
    loss_N: npt.NDArray[np.floating],
    config: MapConfig,
) -> tuple[dict[str, npt.NDArray[Any]], Laid]:
    """Columns of the clusters but their regions, and what regions are found in."""
    table, num = view.clusters.clusters, view.clusters.clusters.num_rows
    counts_KP = subset_counts(table, view.subset_names)
    grid_K2 = on_grid(places.centre_K2)
    columns = {
        "x": grid_K2[:, 0],
        "y": grid_K2[:, 1],
        "size": array(table["size"]).astype(np.uint32),
        **{name: floats(table[name]) for name in ("conductance", "purity")},
        **how_it_holds(table),
        "token_purity": floats(table["token_purity"]),
        "subset": counts_KP.argmax(axis=1).astype(subset_dtype(view.subset_names)),
        "top_tokens": ragged(table["top_tokens"], NUM_TOP_TOKENS, np.int32, -1),
        "top_counts": ragged(table["top_counts"], NUM_TOP_TOKENS, np.uint32, 0),
        "neighbours": ragged(table["neighbours"], NUM_NEIGHBOURS, np.int32, -1),
        "subset_counts": counts_KP,
        **_members_shown(clustered, num, config),
        **control_matches(view),
    }
    for name in ("examples", "central"):
        columns[f"{name}_loss"] = _losses(loss_N, columns[name])
    place_m, cluster_m = drawn_members(row_n, clustered)
    laid = Laid(
        centre_K2=places.centre_K2,
        size_K=columns["size"],
        cluster_M=cluster_m,
        xy_M2=places.xy_n2[place_m],
    )
    return columns, laid


def _members_shown(
    clustered: Clustered, num_clusters: int, config: MapConfig
) -> dict[str, npt.NDArray[np.float64]]:
    """Token ids of random members and of those of highest rank; −1 beyond the last."""
    found = examples(
        clustered.row_M,
        clustered.cluster_M,
        range(num_clusters),
        num_random=config.num_examples,
        num_central=config.num_central,
        seed=config.seed,
    )
    shown = {
        "examples": np.full((num_clusters, config.num_examples), -1.0),
        "central": np.full((num_clusters, config.num_central), -1.0),
    }
    for cluster, own in enumerate(found):
        shown["examples"][cluster, : len(own.random)] = own.random
        shown["central"][cluster, : len(own.central)] = own.central
    return shown


def _losses(
    loss_N: npt.NDArray[np.floating], token_id_Km: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Losses of tokens [K, m]; NaN where there is no token."""
    row_Km = token_id_Km.astype(np.int64)
    return np.where(row_Km >= 0, loss_N[np.maximum(row_Km, 0)], np.nan).astype(np.float32)


def _assigned_shown(
    assigned: AssignedTokens, num_clusters: int, config: MapConfig
) -> dict[str, npt.NDArray[Any]]:
    """How many tokens were assigned to each cluster, and some of them at random."""
    inside_M = assigned.cluster_M >= 0
    own = assigned.token_id_M[inside_M].astype(np.float64), assigned.cluster_M[inside_M]
    random = _shuffled(*own, (config.seed, _ASSIGNED_KEY))
    return {
        "assigned": np.bincount(own[1], minlength=num_clusters).astype(np.uint32),
        "assigned_examples": first_of_each(*random, (num_clusters, config.num_central), -1),
    }


def _shuffled(
    token_id_M: npt.NDArray[np.float64], cluster_M: npt.NDArray[np.integer], key: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.integer]]:
    """Tokens by cluster, those of one cluster in keyed random order, and their clusters."""
    rng = np.random.default_rng(list(key))
    order_M = np.lexsort((rng.random(token_id_M.size), cluster_M))
    return token_id_M[order_M], cluster_M[order_M]
