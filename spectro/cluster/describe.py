"""What a reader wants to know of each cluster: its tokens, its subsets, its neighbours.

Shapes: N tokens, C clusters, S subsets, M neighbouring clusters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.cluster.clusters import Clusters

NUM_TOP_TOKENS = 10
"""Most common targets y that are named."""
NUM_NEIGHBOURS = 5
"""Nearest other clusters that are named."""


@dataclass(frozen=True, kw_only=True)
class TokenLabels:
    """What is known of every token besides its susceptibilities, in the rows of χ."""

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
    """Count targets and subsets, measure distances. ValueError if the rows do not match."""
    if labels.token_id_N.size != clusters.num_tokens:
        raise ValueError(
            f"found labels of {labels.token_id_N.size} tokens for clusters of "
            f"{clusters.num_tokens}: were they read from the same product?"
        )
    tops = [_most_common(labels.token_N[rows]) for rows in clusters.members]
    num_subsets = len(labels.subset_names)
    subset_counts = np.zeros((len(clusters), num_subsets), np.int32)
    for cluster, rows in enumerate(clusters.members):
        subset_counts[cluster] = np.bincount(labels.subset_N[rows], minlength=num_subsets)
    size_C = np.maximum(clusters.size_C, 1)
    neighbour, distance = nearest_clusters(clusters.centroid_CD, NUM_NEIGHBOURS)
    return Description(
        top_tokens=tuple(tokens for tokens, _ in tops),
        top_counts=tuple(counts for _, counts in tops),
        subset_counts_CS=subset_counts,
        purity_C=(subset_counts.max(axis=1, initial=0) / size_C).astype(np.float32),
        token_purity_C=np.array(
            [counts[0] / size for (_, counts), size in zip(tops, size_C, strict=True)], np.float32
        ),
        neighbour_CM=neighbour,
        neighbour_distance_CM=distance,
    )


def nearest_clusters(
    centroid_CD: NDArray[np.float32], num_neighbours: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Nearest other centroids and their distances, [C, min(num_neighbours, C − 1)]."""
    num_clusters = centroid_CD.shape[0]
    num_named = max(0, min(num_neighbours, num_clusters - 1))
    index = np.zeros((num_clusters, num_named), np.int32)
    distance = np.zeros((num_clusters, num_named), np.float32)
    for cluster in range(num_clusters):
        away = np.linalg.norm(centroid_CD.astype(np.float64) - centroid_CD[cluster], axis=1)
        away[cluster] = np.inf
        nearest = np.argsort(away, kind="stable")[:num_named]
        index[cluster], distance[cluster] = nearest, away[nearest]
    return index, distance


def _most_common(tokens: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    values, counts = np.unique(tokens, return_counts=True)
    order = np.lexsort((values, -counts))[:NUM_TOP_TOKENS]
    return values[order].astype(np.int32), counts[order].astype(np.int32)
