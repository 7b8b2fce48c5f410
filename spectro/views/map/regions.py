"""Regions of the map: groups of clusters that are close together, outlined and named (ADR 034).

Ward's hierarchical clustering of the clusters' positions (scikit-learn), merging only what is
near, cut at about as many groups as a group has clusters. The outline is a contour of the density
of the group's clusters and of their tokens around them (contourpy); the name is the group's three
most distinctive tokens, by term frequency in the group against frequency in all clusters
(c-TF-IDF, Grootendorst 2022, arXiv 2203.05794, eq. 2).
Shapes: K clusters, M drawn members of clusters, R regions, T most common tokens.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectro.views.map.columns import on_grid
from spectro.views.map.config import MapConfig
from spectro.views.map.outline import outline

LEAST_CLUSTERS = 8
"""A map of fewer clusters has no regions."""
NUM_NAMES = 3
_NEAR = 10  # clusters that one may be merged with at once

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Region:
    """A group of clusters; positions are on the grid."""

    id: int
    """Largest first."""
    name: str
    """Its most distinctive tokens in the display alphabet, parted by plain spaces."""
    top_tokens: tuple[int, ...]
    """The same by id."""
    clusters: int
    """How many it has."""
    tokens: int
    """Members of all of them, drawn or not; twice in two of them counts twice."""
    outline: tuple[tuple[int, int], ...]
    """Corners of a polygon, in order; the last is joined to the first."""
    at: tuple[int, int]
    """Where most of its tokens are: inside the outline."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "id": self.id,
            "name": self.name,
            "outline": [list(corner) for corner in self.outline],
            "clusters": self.clusters,
            "tokens": self.tokens,
            "at": list(self.at),
            "top_tokens": list(self.top_tokens),
        }


@dataclass(frozen=True, kw_only=True)
class Laid:
    """What regions are found in."""

    centre_K2: Floats
    """Positions of clusters in the unit square."""
    size_K: Ints
    """Their members."""
    cluster_M: Ints
    """Cluster of each drawn member."""
    xy_M2: Floats
    """Its position."""
    top_tokens_KT: Ints
    """Most common y of every cluster, −1 beyond the last."""
    top_counts_KT: Ints
    """How often."""


def find_regions(
    laid: Laid, vocabulary: Sequence[str | None], config: MapConfig
) -> tuple[NDArray[np.int32], list[Region]]:
    """Region of every cluster (−1 in none), and the regions, largest first."""
    region_K = group(laid.centre_K2, laid.size_K, config)
    num_regions = int(region_K.max(initial=-1)) + 1
    names = distinctive(region_K, laid.top_tokens_KT, laid.top_counts_KT)
    region_M = _at_home(region_K, laid)
    regions = []
    for number in range(num_regions):
        own_K = region_K == number
        points_m2 = np.concatenate([laid.centre_K2[own_K], laid.xy_M2[region_M == number]])
        corners, at = outline(points_m2)
        regions.append(
            Region(
                id=number,
                name=" ".join(_shown(token, vocabulary) for token in names[number]),
                top_tokens=names[number],
                clusters=int(own_K.sum()),
                tokens=int(laid.size_K[own_K].sum()),
                outline=tuple((int(x), int(y)) for x, y in on_grid(corners)),
                at=(int(on_grid(at)[0]), int(on_grid(at)[1])),
            )
        )
    return region_K, regions


def group(centre_K2: Floats, size_K: Ints, config: MapConfig) -> NDArray[np.int32]:
    """Region of every cluster, regions by falling number of tokens; −1 for one that is alone.

    No regions where there are fewer than `LEAST_CLUSTERS` clusters.
    """
    num_clusters = len(centre_K2)
    if num_clusters < LEAST_CLUSTERS:
        return np.full(num_clusters, -1, np.int32)
    asked = config.num_regions or round(num_clusters**0.5)
    label_K = _ward(centre_K2, min(asked, num_clusters))
    num_clusters_R = np.bincount(label_K)
    tokens_R = np.bincount(label_K, weights=size_K)
    first_R = np.full(len(tokens_R), num_clusters)
    np.minimum.at(first_R, label_K, np.arange(num_clusters))
    order = np.lexsort((first_R, -tokens_R, num_clusters_R < 2))
    rank_R = np.empty(len(order), np.int32)
    rank_R[order] = np.arange(len(order))
    rank_R[num_clusters_R < 2] = -1
    return rank_R[label_K]


def _at_home(region_K: Ints, laid: Laid) -> Ints:
    """Region of every drawn member whose nearest cluster is of the same region; −1 for others.

    What is among other regions' clusters would only blur the lines between them.
    """
    from scipy.spatial import KDTree

    if not laid.cluster_M.size or region_K.max() < 0:
        return np.full(laid.cluster_M.size, -1, np.int32)
    _, nearest_M = KDTree(laid.centre_K2).query(laid.xy_M2)
    region_M = region_K[laid.cluster_M]
    return np.where(region_K[nearest_M] == region_M, region_M, -1)


def _ward(centre_K2: Floats, num_groups: int) -> Ints:
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.neighbors import kneighbors_graph

    near = kneighbors_graph(centre_K2, min(_NEAR, len(centre_K2) - 1), include_self=False)
    ward = AgglomerativeClustering(
        n_clusters=num_groups, linkage="ward", connectivity=near.maximum(near.T)
    )
    with warnings.catch_warnings():  # islands are joined at the end, as they should be
        warnings.filterwarnings("ignore", message=".*number of connected components.*")
        return np.asarray(ward.fit_predict(centre_K2))


def distinctive(region_K: Ints, top_tokens_KT: Ints, top_counts_KT: Ints) -> list[tuple[int, ...]]:
    """Of every region the ids of `NUM_NAMES` tokens of largest tf · ln(1 + A / f), ties by id.

    tf is a token's share of the counts in the region, f its count in all clusters, A the mean over
    regions of the count of all their tokens; clusters in no region (−1) are in f alone.
    """
    num_regions = int(region_K.max(initial=-1)) + 1
    known_KT = (top_tokens_KT >= 0) & (top_counts_KT > 0)
    token, index = np.unique(top_tokens_KT[known_KT], return_inverse=True)
    count = top_counts_KT[known_KT].astype(np.float64)
    region = np.broadcast_to(region_K[:, None], known_KT.shape)[known_KT]
    overall = np.bincount(index, weights=count, minlength=token.size)
    mean_of_regions = count[region >= 0].sum() / max(num_regions, 1)
    rarity = np.log1p(mean_of_regions / np.maximum(overall, 1.0))
    names = []
    for number in range(num_regions):
        own = region == number
        tf = np.bincount(index[own], weights=count[own], minlength=token.size)
        weight = tf / max(tf.sum(), 1.0) * rarity
        best = np.lexsort((token, -weight))[:NUM_NAMES]
        names.append(tuple(int(token[i]) for i in best if weight[i] > 0))
    return names


def _shown(token: int, vocabulary: Sequence[str | None]) -> str:
    shown = vocabulary[token] if token < len(vocabulary) else None
    return f"#{token}" if shown is None else shown
