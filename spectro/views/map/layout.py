"""Positions of any number of tokens: UMAP of landmarks, the others between them (ADR 034).

Landmarks are the centroids of all clusters and a sample of the tokens drawn; with very many
clusters the centroids alone, or a sample of them. Everything else is at the mean of its three
nearest landmarks, weighted by 1 / d², and a little beside it, so that tokens of equal χ do not hide
each other.
Shapes: N tokens of the run, n drawn, l of them landmarks, L landmarks in all, K clusters, c of them
landmarks, D coordinates, M members of clusters.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.knn.exact import exact_neighbours
from spectro.views.map.config import MapConfig
from spectro.views.map.embedding import cluster_positions, has_umap, layout

NUM_NEAREST = 3
"""Landmarks between which a token is placed."""
LEAST_TOKENS = 5
"""A cluster of which fewer tokens are drawn is at its centroid's landmark."""
MARGIN = 0.02
"""Left free around the landmarks, for tokens and outlines beside them."""
_DRAW_KEY, _JITTER_KEY = 0x64726177, 0x6A697474  # keep these streams apart
_CENTROID_KEY, _CENTROID_JITTER_KEY = 0x63656E74, 0x636A6974

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Float32 = NDArray[np.float32]
Vectors = Callable[[Ints], Iterator[tuple[slice, Float32]]]
"""Preprocessed χ of ascending rows: which of them, and their vectors; a token shard at a time."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Positions in the unit square."""

    xy_n2: Float32
    """Tokens, in the order in which they were drawn."""
    centre_K2: Floats
    """Clusters."""
    layout: dict[str, Any]
    """How positions were made, for map.json."""


@dataclass(frozen=True, kw_only=True)
class Clustered:
    """What a layout asks of clusters."""

    centroid_KD: Float32
    """Mean of the members in the preprocessed space."""
    row_M: Ints
    """Rows of members."""
    cluster_M: Ints
    """Their clusters."""


def draw(num_tokens: int, config: MapConfig) -> NDArray[np.int64]:
    """Rows of the tokens drawn, [n], in keyed random order: the first of them are a sample."""
    rng = np.random.default_rng([config.seed, _DRAW_KEY])
    return rng.permutation(num_tokens)[: config.max_tokens]


def place(row_n: Ints, vectors: Vectors, clustered: Clustered, config: MapConfig) -> Places:
    """Positions of the rows drawn and of all clusters.

    `vectors` is asked twice at most: for the landmarks, then for all other rows. Raises
    ValueError if a coordinate is not finite.
    """
    num_clusters = len(clustered.centroid_KD)
    sampled = num_clusters < config.many_clusters
    num_sampled = max(0, config.landmarks - num_clusters) if sampled else 0
    cluster_c = _landmark_clusters(num_clusters, config)
    order_n = np.argsort(row_n, kind="stable")  # shards are read in the order of their rows
    is_landmark_n = order_n < num_sampled
    points_LD = _landmarks(row_n[order_n[is_landmark_n]], vectors, clustered.centroid_KD[cluster_c])
    xy_L2 = (MARGIN + (1 - 2 * MARGIN) * layout(points_LD, config)).astype(np.float32)
    xy_n2 = np.empty((row_n.size, 2), np.float32)
    xy_n2[order_n[is_landmark_n]] = xy_L2[cluster_c.size :]
    others_n = order_n[~is_landmark_n]
    xy_n2[others_n] = _between(row_n[others_n], vectors, points_LD, xy_L2, config)
    centre_K2 = _centres(clustered.centroid_KD, cluster_c, points_LD, xy_L2, config)
    if sampled:
        _to_their_tokens(centre_K2, xy_n2, row_n, clustered)
    made = {
        "method": "UMAP of landmarks" if has_umap(len(points_LD)) else "principal axes",
        "landmarks": len(points_LD),
        "centroids": cluster_c.size,
        "centroids_between_landmarks": num_clusters - cluster_c.size,
        "between_landmarks": len(others_n),
        "num_neighbours": config.num_neighbours,
        "seed": config.seed,
    }
    return Places(xy_n2=xy_n2, centre_K2=centre_K2, layout=made)


def _landmark_clusters(num_clusters: int, config: MapConfig) -> NDArray[np.int64]:
    """Clusters whose centroids are landmarks, ascending: all, or a keyed sample of too many."""
    rng = np.random.default_rng([config.seed, _CENTROID_KEY])
    return np.sort(rng.permutation(num_clusters)[: config.landmarks])


def _landmarks(row_l: Ints, vectors: Vectors, centroid_cD: Float32) -> Float32:
    """Centroids, then tokens, [L, D]."""
    num_centroids, width = centroid_cD.shape
    points_LD = np.empty((num_centroids + row_l.size, width), np.float32)
    points_LD[:num_centroids] = centroid_cD
    for part, x_mD in vectors(row_l):
        points_LD[num_centroids:][part] = x_mD
    return points_LD


def _centres(
    centroid_KD: Float32, cluster_c: Ints, points_LD: Float32, xy_L2: Float32, config: MapConfig
) -> NDArray[np.float64]:
    """Positions [K, 2] of all clusters by their centroids."""
    centre_K2 = np.empty((len(centroid_KD), 2))
    centre_K2[cluster_c] = xy_L2[: len(cluster_c)]
    other_m = np.setdiff1d(np.arange(len(centroid_KD)), cluster_c)
    beside_m2 = _discs(other_m.size, [config.seed, _CENTROID_JITTER_KEY])
    if other_m.size:
        centre_K2[other_m] = _among(
            centroid_KD[other_m], beside_m2, points_LD, xy_L2, _gaps(xy_L2), config
        )
    return centre_K2


def _between(
    row_m: Ints, vectors: Vectors, points_LD: Float32, xy_L2: Float32, config: MapConfig
) -> Float32:
    """Positions [m, 2] of ascending rows that are no landmarks, shard by shard."""
    xy_m2 = np.empty((row_m.size, 2), np.float32)
    gap_L = _gaps(xy_L2)
    beside_m2 = _discs(row_m.size, [config.seed, _JITTER_KEY])
    for part, x_bD in vectors(row_m):
        xy_m2[part] = _among(x_bD, beside_m2[part], points_LD, xy_L2, gap_L, config)
    return xy_m2


def _among(
    x_bD: Float32,
    beside_b2: Float32,
    points_LD: Float32,
    xy_L2: Float32,
    gap_L: Float32,
    config: MapConfig,
) -> Floats:
    """Positions [b, 2] between the nearest landmarks, and beside them by places in the disc."""
    no_rows, blocks = np.full(len(x_bD), -1), [(0, points_LD)]
    num_nearest = min(NUM_NEAREST, len(points_LD))
    found = exact_neighbours(x_bD, no_rows, blocks, num_nearest, device=config.device)
    near_b3, far_b3 = found.index_Nk, found.distance_Nk.astype(np.float64)
    # A token at a landmark is placed there, however near the others are.
    weight_b3 = 1.0 / np.maximum(far_b3, 1e-6 * far_b3.max(axis=1, keepdims=True) + 1e-30) ** 2
    weight_b3 /= weight_b3.sum(axis=1, keepdims=True)
    mean_b2 = np.einsum("bk,bkd->bd", weight_b3, xy_L2[near_b3])
    return np.asarray(mean_b2 + beside_b2 * gap_L[near_b3[:, 0], None])


def _gaps(xy_L2: Float32) -> Float32:
    """Room for tokens beside each landmark: half the way to the nearest other, MARGIN at most."""
    from scipy.spatial import KDTree

    if len(xy_L2) < 2:
        return np.full(len(xy_L2), MARGIN, np.float32)
    far_L2, _ = KDTree(xy_L2).query(xy_L2, k=2)
    return np.asarray(np.minimum(far_L2[:, 1] / 2, MARGIN), np.float32)


def _discs(num: int, key: list[int]) -> Float32:
    """Places in the unit disc, [m, 2], uniform, keyed."""
    rng = np.random.default_rng(key)
    radius_m = np.sqrt(rng.random(num, np.float32))
    angle_m = rng.random(num, np.float32) * np.float32(2 * np.pi)
    return np.stack([radius_m * np.cos(angle_m), radius_m * np.sin(angle_m)], axis=1)


def _to_their_tokens(centre_K2: Floats, xy_n2: Float32, row_n: Ints, clustered: Clustered) -> None:
    """Move clusters to the median of their tokens, where enough of these are drawn."""
    place_m, cluster_m = drawn_members(row_n, clustered)
    median_K2 = cluster_positions(xy_n2[place_m], cluster_m, len(centre_K2))
    enough_K = np.bincount(cluster_m, minlength=len(centre_K2)) >= LEAST_TOKENS
    centre_K2[enough_K] = median_K2[enough_K]


def drawn_members(row_n: Ints, clustered: Clustered) -> tuple[Ints, Ints]:
    """Of every member that is drawn its place among the rows drawn, and its cluster."""
    if not row_n.size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    order_n = np.argsort(row_n, kind="stable")
    found_M = np.searchsorted(row_n, clustered.row_M, sorter=order_n).clip(max=row_n.size - 1)
    place_M = order_n[found_M]
    is_drawn_M = row_n[place_M] == clustered.row_M
    return place_M[is_drawn_M], clustered.cluster_M[is_drawn_M]
