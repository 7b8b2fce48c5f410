"""Units of kNN lists: pairs of blocks, lists of a block, recall (ADR 024)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from spectro.cluster_stage.units import ListsUnit, NeighboursUnit, PairUnit, RecallUnit
from spectro.cluster_stage.vectors import ListsOnNode
from spectro.clustering.config import ClusterConfig
from spectro.clustering.knn.exact import exact_neighbours
from spectro.clustering.knn.lists import merge as merge_lists
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.knn.pairs import pair_neighbours
from spectro.clustering.knn.recall import measured_recall, sample_rows
from spectro.clustering.knn.search import nearest_neighbours
from spectro.clustering.knn.search_plan import block_pairs, is_exact
from spectro.config import to_dict
from spectro.formats.clusters.knn_lists import pair_name, put_lists, read_lists
from spectro.formats.derived_objects import put_derived
from spectro.work.stage import OnProgress, ShouldStop, WorkerContext

NUM_SAMPLED = 1000
"""Sampled rows for recall: a standard error of about 0.002 at 0.98."""


def make_pair(
    unit: PairUnit, context: WorkerContext, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Neighbours of the rows of two blocks: exact in the other one, or approximate in the union."""
    config = context.config.cluster
    with lists_of(unit, context) as lists:
        first, second = (
            (lists.layout.block(block).start, lists.vectors(block))
            for block in (unit.first, unit.second)
        )
        found = pair_neighbours(
            first, second, config.num_neighbours,
            exact=is_exact(lists.layout.num_rows, config.neighbour_search),
            seed=config.seed, progress=on_progress,
        )  # fmt: skip
        put_lists(lists.store, unit.names[0], found)


def make_lists(
    unit: NeighboursUnit, context: WorkerContext, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """The nearest others of a block's rows: of one search where there is one block, else merged."""
    config = context.config.cluster
    with lists_of(unit, context) as lists:
        if lists.layout.num_blocks > 1:
            found = merge_lists(_of_pairs(unit, lists, config, on_progress))
        else:
            found = nearest_neighbours(
                lists.vectors(unit.block), config.num_neighbours, search=config.neighbour_search,
                seed=config.seed, progress=on_progress,
            )  # fmt: skip
        put_lists(lists.store, unit.names[0], found)


def measure_recall(
    unit: RecallUnit, context: WorkerContext, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Lists of a sample of the rows against exact search."""
    config = context.config.cluster
    with lists_of(unit, context) as lists:
        layout = lists.layout
        sample = sample_rows(layout.num_rows, NUM_SAMPLED, seed=config.seed)
        vectors, index, distance = [], [], []
        for block in range(layout.num_blocks):
            start, stop = _ends(layout.block(block))
            own = sample[(sample >= start) & (sample < stop)] - start
            found = read_lists(lists.store, lists.name(block))
            vectors.append(lists.vectors(block)[own])
            index.append(found.index_Nk[own])
            distance.append(found.distance_Nk[own])
        found = Neighbours(index_Nk=np.concatenate(index), distance_Nk=np.concatenate(distance))
        exact = _exact(np.concatenate(vectors), sample, lists, config, on_progress)
        recall = measured_recall(sample, found, exact)
        put_derived(lists.store, unit.names[0], to_dict(recall), unit.probe_sha256)


def lists_of(unit: ListsUnit, context: WorkerContext) -> ListsOnNode:
    """The kNN lists that a unit works on, as this machine's processes share them."""
    store, config = context.of(unit)
    return ListsOnNode(store, unit.key, unit.half, unit.layout, config.run.scratch)


def _ends(rows: range) -> tuple[int, int]:
    return rows.start, rows.stop


def _exact(
    query_ND: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    lists: ListsOnNode,
    config: ClusterConfig,
    on_progress: OnProgress,
) -> Neighbours:
    num_rows = lists.layout.num_rows
    return exact_neighbours(
        query_ND, rows, lists.blocks(), config.num_neighbours,
        progress=lambda done: on_progress(done, num_rows),
    )  # fmt: skip


def _of_pairs(
    unit: NeighboursUnit, lists: ListsOnNode, config: ClusterConfig, on_progress: OnProgress
) -> Iterator[Neighbours]:
    """A block's lists from every pair with it."""
    layout = lists.layout
    exact = is_exact(layout.num_rows, config.neighbour_search)
    pairs = [pair for pair in block_pairs(layout.num_blocks, exact=exact) if unit.block in pair]
    for number, (first, second) in enumerate(pairs):
        both = read_lists(lists.store, pair_name(lists.key, first, second))
        cut = len(layout.block(first))
        own = slice(0, cut) if unit.block == first else slice(cut, None)
        yield Neighbours(index_Nk=both.index_Nk[own], distance_Nk=both.distance_Nk[own])
        on_progress(number + 1, len(pairs))
