"""Regions of the map: groups of clusters that are close together, outlined and named (ADR 034).

Ward's hierarchical clustering of the clusters' positions (scikit-learn), merging only what is
near, cut at about as many groups as a group has clusters. The outline is a contour of the density
of the group's clusters and of their tokens around them (contourpy). Their members together are
named as those of one cluster are (analysis/naming/).
Shapes: K clusters, M drawn members of clusters, R regions.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectro.views.map.columns import on_grid
from spectro.views.map.config import MapConfig
from spectro.views.map.outline import outline

LEAST_CLUSTERS = 8
"""A map of fewer clusters has no regions."""
_NEAR = 10  # clusters that one may be merged with at once

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Region:
    """A group of clusters; positions are on the grid."""

    id: int
    """Largest first."""
    name: str = ""
    """In the display alphabet; empty where it is not known."""
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


def find_regions(laid: Laid, config: MapConfig) -> tuple[NDArray[np.int32], list[Region]]:
    """Region of every cluster (−1 in none), and the regions without names, largest first."""
    region_K = group(laid.centre_K2, laid.size_K, config)
    num_regions = int(region_K.max(initial=-1)) + 1
    region_M = _at_home(region_K, laid)
    regions = []
    for number in range(num_regions):
        own_K = region_K == number
        points_m2 = np.concatenate([laid.centre_K2[own_K], laid.xy_M2[region_M == number]])
        corners, at = outline(points_m2)
        regions.append(
            Region(
                id=number,
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
