"""Description of clusters: most common tokens, subsets, nearest clusters.

Shapes: N tokens, C clusters, S subsets, M neighbouring clusters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.cluster_sums import ClusterSummary, top_tokens
from spectro.clustering.clusters import Clusters
from spectro.clustering.config import NUM_NEIGHBOURS

NUM_SPARE = 8
"""Extra candidates, so that rounding cannot cost a neighbour."""
BLOCK_DISTANCES = 1 << 24
"""Distances between centroids in memory at once."""


@dataclass(frozen=True, kw_only=True)
class TokenLabels:
    """Labels of every token, in the rows of χ."""

    token_id_N: NDArray[np.int64]
    """Id in the product."""
    token_N: NDArray[np.int32]
    """y."""
    subset_N: NDArray[np.int16]
    """Index into `subset_names`."""
    subset_names: tuple[str, ...]
    """Names of the subsets."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """One entry per cluster, in the order of `Clusters`."""

    top_tokens: tuple[NDArray[np.int32], ...]
    """Most common y, most common first, ties by token."""
    top_counts: tuple[NDArray[np.int32], ...]
    """How often each occurs in the cluster."""
    subset_counts_CS: NDArray[np.int32]
    """Members from each subset."""
    purity_C: NDArray[np.float32]
    """Share of the most common subset."""
    token_purity_C: NDArray[np.float32]
    """Share of the most common y."""
    neighbour_CM: NDArray[np.int32]
    """Nearest other clusters by distance of centroids, nearest first."""
    neighbour_distance_CM: NDArray[np.float32]
    """Their distances, in the preprocessed space."""


def describe(clusters: Clusters, labels: TokenLabels) -> Description:
    """Count targets and subsets, measure distances; ValueError if the rows do not match."""
    if labels.token_id_N.size != clusters.num_tokens:
        raise ValueError(
            f"found labels of {labels.token_id_N.size} tokens for clusters of "
            f"{clusters.num_tokens}: were they read from the same product?"
        )
    num_clusters, num_subsets = len(clusters), len(labels.subset_names)
    row_M = np.concatenate([*clusters.members, np.empty(0, np.int32)])
    cluster_M = np.repeat(np.arange(num_clusters), clusters.size_C)
    tops = top_tokens(cluster_M, labels.token_N[row_M], num_clusters)
    subset_counts = np.zeros((num_clusters, num_subsets), np.int32)
    np.add.at(subset_counts, (cluster_M, labels.subset_N[row_M]), 1)
    return _description(
        clusters.size_C,
        clusters.centroid_CD,
        (tuple(tokens for tokens, _ in tops), tuple(counts for _, counts in tops)),
        subset_counts,
    )


def describe_sums(summary: ClusterSummary, size_C: NDArray[np.integer]) -> Description:
    """`describe` from accumulated sums."""
    tops = (summary.top_tokens, summary.top_counts)
    return _description(size_C, summary.centroid_CD, tops, summary.subset_counts_CS)


def _description(
    size_C: NDArray[np.integer],
    centroid_CD: NDArray[np.float32],
    tops: tuple[tuple[NDArray[np.int32], ...], tuple[NDArray[np.int32], ...]],
    subset_counts_CS: NDArray[np.int32],
) -> Description:
    least_one = np.maximum(size_C, 1)
    leading = np.array([counts.max(initial=0) for counts in tops[1]], np.int64)
    neighbour, distance = nearest_clusters(centroid_CD, NUM_NEIGHBOURS)
    return Description(
        top_tokens=tops[0],
        top_counts=tops[1],
        subset_counts_CS=subset_counts_CS,
        purity_C=(subset_counts_CS.max(axis=1, initial=0) / least_one).astype(np.float32),
        token_purity_C=(leading / least_one).astype(np.float32),
        neighbour_CM=neighbour,
        neighbour_distance_CM=distance,
    )


def nearest_clusters(
    centroid_CD: NDArray[np.float32], num_neighbours: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Nearest other centroids and distances, [C, min(num_neighbours, C − 1)]; ties by id.

    Blocks of rows against all, never a C × C matrix. Candidates from |x|² − 2x·y + |y|² of the
    centred centroids, ordered by distances from differences.
    """
    num_clusters = centroid_CD.shape[0]
    num_named = max(0, min(num_neighbours, num_clusters - 1))
    index = np.zeros((num_clusters, num_named), np.int32)
    distance = np.zeros((num_clusters, num_named), np.float32)
    if num_named == 0:
        return index, distance
    x_CD = centroid_CD.astype(np.float64)
    x_CD = x_CD - x_CD.mean(axis=0)
    squared_C = (x_CD**2).sum(axis=1)
    num_candidates = min(num_clusters, num_named + 1 + NUM_SPARE)
    step = max(1, BLOCK_DISTANCES // num_clusters)
    for start in range(0, num_clusters, step):
        rows = np.arange(start, min(start + step, num_clusters))
        away = squared_C[None] - 2.0 * x_CD[rows] @ x_CD.T
        near = np.argpartition(away, num_candidates - 1, axis=1)[:, :num_candidates]
        exact = ((x_CD[near] - x_CD[rows][:, None]) ** 2).sum(axis=2)
        exact[near == rows[:, None]] = np.inf
        order = np.lexsort((near, exact), axis=1)[:, :num_named]
        index[rows] = np.take_along_axis(near, order, axis=1)
        distance[rows] = np.sqrt(np.take_along_axis(exact, order, axis=1))
    return index, distance
