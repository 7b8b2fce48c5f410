"""Clusters of χ in memory: transform, kNN lists, graph, local clustering."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.cluster_sums import ClusterSummary, ClusterSums
from spectro.clustering.config import ClusterConfig
from spectro.clustering.graph.graph_statistics import graph_statistics
from spectro.clustering.graph.weighted_graph import Graph, self_tuning_graph
from spectro.clustering.knn.search import nearest_neighbours
from spectro.clustering.local.round_state import SelectionState
from spectro.clustering.local.rounds import find_clusters
from spectro.clustering.local.seed_executor import SeedExecutorFactory, serial_executor
from spectro.clustering.local.seed_proposal import Proposal
from spectro.clustering.matching import Clustering
from spectro.clustering.vectors.moments import Moments
from spectro.clustering.vectors.preprocess import Transform, fit_transform

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Clusters, largest first; the id is the index."""

    config: ClusterConfig
    transform: Transform
    """χ to the space of the centroids."""
    num_tokens: int
    """All tokens, clustered or not."""
    members: tuple[NDArray[np.int32], ...]
    """Rows of χ per cluster, by falling p / degree."""
    scores: tuple[NDArray[np.float32], ...]
    """p / degree of each member."""
    conductance_C: NDArray[np.float64]
    """cut(S) / min(vol S, vol rest) in the whole graph, from the definition."""
    seed_C: NDArray[np.int32]
    """Seed of each cluster."""
    repeatability_C: NDArray[np.float32]
    """Best Jaccard index among clusters from other seeds of the same graph; NaN with `overlap:
    false`."""
    centroid_CD: NDArray[np.float32]
    """Mean of the members in the preprocessed space."""
    mean_chi_CH: NDArray[np.float32]
    """Mean of the members' standardised χ: below zero expression, above zero suppression."""
    statistics: dict[str, Any]
    """Nodes, edges, rounds, edges visited, columns dropped."""

    def __len__(self) -> int:
        return len(self.members)

    @property
    def size_C(self) -> NDArray[np.int32]:
        return np.array([rows.size for rows in self.members], np.int32)

    @property
    def label_N(self) -> NDArray[np.int32]:
        """Cluster of every token, −1 for none; the smallest of overlapping ones."""
        label = np.full(self.num_tokens, -1, np.int32)
        for cluster, rows in enumerate(self.members):
            label[rows] = cluster
        return label


def cluster(
    chi_NH: NDArray[np.float32],
    config: ClusterConfig,
    *,
    reliability_H: Sequence[float] | None = None,
    halves: Moments | None = None,
    names: Sequence[str] | None = None,
    mean_phi_H: Sequence[float] | None = None,
    response_N: NDArray[np.float32] | None = None,
    make_executor: SeedExecutorFactory = serial_executor,
    progress: Progress | None = None,
) -> Clusters:
    """Transform χ, find kNN lists, build the graph, run rounds of seeds.

    `progress(stage, done, total)` with stages "neighbours" and "seeds". `names` are for messages;
    `reliability_H` and `halves` as in `fit`; `mean_phi_H` and `response_N` give the uniform mode of
    χ
    by `two_chain` (`Result.mean_phi`, `Result.full_response`), without which `restricted` removes
    nothing. The result does not depend on the executor.
    ValueError: χ not finite, a constant column, not more than k tokens, all tokens equal.
    """
    transform = fit_transform(
        chi_NH, config, reliability_H=reliability_H, halves=halves, names=names,
        mean_phi_H=mean_phi_H, response_N=response_N,
    )  # fmt: skip
    given = (chi_NH, response_N) if transform.needs_response else (chi_NH, None)
    x_ND = transform.apply(*given)
    graph = build_graph(x_ND, config, progress=progress)
    on_seeds = _stage(progress, "seeds")
    on_round = (
        None if on_seeds is None else lambda state: on_seeds(state.num_tried, graph.num_nodes)
    )
    state = find_clusters(graph, config, make_executor, on_round=on_round)
    sums = _sums(state, transform.standardise(*given), x_ND)
    return assemble(state, graph, transform, config, sums)


def build_graph(
    x_ND: NDArray[np.float32], config: ClusterConfig, *, progress: Progress | None = None
) -> Graph:
    """kNN graph with self-tuning weights of preprocessed vectors."""
    neighbours = nearest_neighbours(
        x_ND,
        config.num_neighbours,
        search=config.neighbour_search,
        seed=config.seed,
        progress=_stage(progress, "neighbours"),
    )
    return self_tuning_graph(neighbours)


def _stage(progress: Progress | None, stage: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(stage, done, total)


def by_size(state: SelectionState) -> list[Proposal]:
    """Clusters in the order of their ids: largest first, ties by seed."""
    return sorted(state.clusters, key=lambda c: (-c.tokens.size, c.seed))


def assemble(
    state: SelectionState,
    graph: Graph,
    transform: Transform,
    config: ClusterConfig,
    sums: ClusterSummary,
) -> Clusters:
    """`Clusters` of finished rounds; `sums` is over the members of `by_size(state)`."""
    found = by_size(state)
    members = tuple(candidate.tokens for candidate in found)
    num_columns = int(transform.kept_K.size)
    return Clusters(
        config=config,
        transform=transform,
        num_tokens=graph.num_nodes,
        members=members,
        scores=tuple(candidate.scores for candidate in found),
        conductance_C=np.array([graph.conductance(rows) for rows in members], np.float64),
        seed_C=np.array([candidate.seed for candidate in found], np.int32),
        repeatability_C=np.array([candidate.repeatability for candidate in found], np.float32),
        centroid_CD=sums.centroid_CD,
        mean_chi_CH=sums.mean_chi_CH,
        statistics={
            "num_tokens": graph.num_nodes,
            **asdict(graph_statistics(graph)),
            "num_rounds": state.num_rounds,
            "num_edges_visited": state.num_edges,
            "num_duplicates": state.num_duplicates,
            "num_columns": num_columns,
            "num_columns_dropped": int(transform.mean_H.size - num_columns),
        },
    )


def _sums(
    state: SelectionState, standardised_NH: NDArray[np.float32], x_ND: NDArray[np.float32]
) -> ClusterSummary:
    """Means over the clusters' members, without tokens and subsets."""
    num_tokens = x_ND.shape[0]
    sums = ClusterSums(Clustering.of([c.tokens for c in by_size(state)], num_tokens), 1)
    unknown = np.zeros(num_tokens, np.int32)
    sums.add(standardised_NH, x_ND, unknown, unknown.astype(np.int16))
    return sums.finish()
