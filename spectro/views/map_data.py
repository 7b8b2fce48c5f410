"""What a cluster map shows, read from a run: labels by column, χ a token shard at a time.

Shapes: N tokens of the run, n drawn, K clusters, M members, H components, D coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.report.contexts import examples
from spectro.report.map import (
    ClusterColumns,
    Laid,
    MapConfig,
    MapData,
    Places,
    SequenceSource,
    TokenColumns,
    draw,
    find_regions,
    place,
)
from spectro.report.map.columns import narrow, on_grid
from spectro.report.map.layout import Clustered, drawn_members
from spectro.storage import tokens
from spectro.storage.cluster_columns import array as _array
from spectro.storage.cluster_columns import floats as _floats
from spectro.storage.cluster_columns import matrix as _matrix
from spectro.storage.cluster_columns import members as _members
from spectro.storage.cluster_columns import ragged as _ragged
from spectro.storage.cluster_columns import subset_counts as _subset_counts
from spectro.storage.clusters import CLUSTERS, PROVENANCE, read_table
from spectro.storage.report_inputs import (
    CONTROL,
    NUM_NEIGHBOURS,
    NUM_TOP_TOKENS,
    read_columns,
    run_facts,
)
from spectro.storage.run_dir import NAME
from spectro.storage.run_view import RunView
from spectro.storage.sealed import read_sealed

OnProgress = Callable[[float, float], None]


def read_map_data(
    view: RunView,
    config: MapConfig,
    vocabulary: Sequence[str | None],
    on_progress: OnProgress = lambda done, total: None,
) -> MapData:
    """Everything that the map's folder is made of.

    Args:
        view: of a run with clusters, all of its tokens measured.
        config: what is drawn, and how.
        vocabulary: each token in the display alphabet.
        on_progress: called with tokens placed and tokens in all.

    Raises ValueError, in one line, where parts of the run are missing.
    """
    labels = view.labels(["subset", "token", "loss"])
    clustered = _clustered(view)
    row_n = draw(labels.num_rows, config)
    vectors = _Vectors(view, len(row_n), on_progress)
    places = place(row_n, vectors, clustered, config)
    columns, laid = _clusters(view, clustered, places, row_n, config)
    region_K, regions = find_regions(laid, vocabulary, config)
    columns["region"] = region_K
    known = read_columns(view.store, view.components)
    stored, file = view.clusters, view.file
    return MapData(
        title=config.title or view.title,
        facts=run_facts(file.config, file.fingerprint, labels.num_rows, known, stored),
        provenance=view.store.read(NAME).decode("utf-8"),
        subsets=view.subset_names,
        components=view.components,
        reliability_H=np.asarray(known.reliability_H),
        num_tokens=labels.num_rows,
        tokens=_tokens(view, labels, clustered, places, row_n),
        clusters=ClusterColumns(**columns),
        profile_KH=_matrix(stored.clusters["mean_chi"], len(view.components)),
        sequences=_sequences(view),
        vocabulary=vocabulary,
        regions=regions,
        control=_control(view),
        layout=places.told,
        rows_per_file=config.rows_per_file,
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
                yield slice(low, high), transform.apply(chi_bH[row_m[low:high] - first])
                self._num_done += high - low
                self._on_progress(self._num_done, self._num_drawn)


def _clustered(view: RunView) -> Clustered:
    """Members and centroids; ValueError where a member is no token of the run."""
    stored = view.clusters
    row_M, cluster_M = _members(view)
    return Clustered(
        centroid_KD=_matrix(stored.clusters["centroid"], stored.transform.num_dimensions),
        row_M=row_M,
        cluster_M=cluster_M,
    )


def _tokens(
    view: RunView,
    labels: pa.Table,
    clustered: Clustered,
    places: Places,
    row_n: npt.NDArray[np.int64],
) -> TokenColumns:
    """Columns of the tokens drawn."""
    cluster_N = np.full(labels.num_rows, -1, np.int32)
    np.maximum.at(cluster_N, clustered.row_M, clustered.cluster_M)  # the last is the smallest
    grid_n2 = on_grid(places.xy_n2)
    return TokenColumns(
        x=grid_n2[:, 0],
        y=grid_n2[:, 1],
        cluster=cluster_N[row_n],
        subset=_subsets(labels["subset"], view.subset_names)[row_n],
        token=_array(labels["token"])[row_n].astype(np.uint32),
        token_id=row_n.astype(np.float64),
        loss=_array(labels["loss"])[row_n].astype(np.float32),
    )


def _clusters(
    view: RunView,
    clustered: Clustered,
    places: Places,
    row_n: npt.NDArray[np.int64],
    config: MapConfig,
) -> tuple[dict[str, npt.NDArray[Any]], Laid]:
    """Columns of the clusters but their regions, and what regions are found in."""
    table, num = view.clusters.clusters, view.clusters.clusters.num_rows
    subset_counts = _subset_counts(table, view.subset_names)
    grid_K2 = on_grid(places.centre_K2)
    columns = {
        "x": grid_K2[:, 0],
        "y": grid_K2[:, 1],
        "size": _array(table["size"]).astype(np.uint32),
        **{name: _floats(table[name]) for name in ("conductance", "stability", "purity")},
        "token_purity": _floats(table["token_purity"]),
        "subset": subset_counts.argmax(axis=1).astype(_subset_dtype(view.subset_names)),
        "top_tokens": _ragged(table["top_tokens"], NUM_TOP_TOKENS, np.int32, -1),
        "top_counts": _ragged(table["top_counts"], NUM_TOP_TOKENS, np.uint32, 0),
        "neighbours": _ragged(table["neighbours"], NUM_NEIGHBOURS, np.int32, -1),
        "subset_counts": subset_counts,
        **_members_shown(clustered, num, config),
    }
    place_m, cluster_m = drawn_members(row_n, clustered)
    laid = Laid(
        centre_K2=places.centre_K2,
        size_K=columns["size"],
        cluster_M=cluster_m,
        xy_M2=places.xy_n2[place_m],
        top_tokens_KT=columns["top_tokens"],
        top_counts_KT=columns["top_counts"],
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


def _sequences(view: RunView) -> SequenceSource:
    """Subsets at once, ids when they are asked for."""
    info, subsets = view.info, view.subset_names
    num_shards = info.splits["probe"].num_shards

    def shards() -> Iterator[Any]:
        for shard in range(num_shards):
            yield tokens.read_shard(view.root, "probe", shard, info)[1]

    subset = np.concatenate([part.subset_S for part in shards()])
    return SequenceSource(
        subset_S=subset.astype(_subset_dtype(subsets)),
        context=view.context,
        largest_id=info.vocab_size - 1,
        blocks=lambda: (part.ids_ST1 for part in shards()),
    )


def _control(view: RunView) -> dict[str, Any] | None:
    """Clusters of the same name in the nβ = 0 control; None where there are none."""
    folder = view.store.child(CONTROL).child(view.folder)
    if not folder.exists(PROVENANCE):
        return None
    table = read_table(folder, CLUSTERS, read_sealed(folder, PROVENANCE), ["size", "conductance"])
    return {
        "clusters": table.num_rows,
        "sizes": table["size"].to_pylist(),
        "conductances": [round(value, 4) for value in table["conductance"].to_pylist()],
    }


def _subsets(column: pa.ChunkedArray, names: Sequence[str]) -> npt.NDArray[np.unsignedinteger]:
    """Index into `names` of every row of a column of names."""
    values = column.combine_chunks()
    index_of = {name: index for index, name in enumerate(names)}
    known = np.array([index_of[name] for name in values.dictionary.to_pylist()], np.int64)
    return np.asarray(known[np.asarray(values.indices)], _subset_dtype(names))


def _subset_dtype(names: Sequence[str]) -> np.dtype[Any]:
    return narrow(len(names) - 1)
