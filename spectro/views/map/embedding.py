"""Where maps put their points: numbers only, no drawing.

UMAP (McInnes et al. 2018) of the preprocessed χ, with exact neighbours, started from the two
principal axes and single-threaded, so that the same run gives the same map (ADR 030).
Shapes: N measured tokens, D coordinates, n points laid out, K clusters, M members of clusters.
"""

import warnings
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.config import NeighbourSearch
from spectro.clustering.knn.search import nearest_neighbours

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
_POINTS_KEY = 0x706F696E
_LEAST_FOR_UMAP = 32
_NUM_EPOCHS = 200


class LayoutSettings(Protocol):
    """What a layout depends on beside its points: the page's settings, or the map's."""

    @property
    def num_neighbours(self) -> int:
        """Neighbours per point, itself among them."""

    @property
    def seed(self) -> int:
        """Key of the layout."""


def choose_points(member_M: Ints, num_tokens: int, max_points: int, seed: int) -> Ints:
    """Tokens to draw: members of clusters first (at most ¾ of max_points), then background.

    Ascending token ids. Needs the memory of the members, not of all tokens.
    """
    rng = np.random.default_rng([seed, _POINTS_KEY])
    inside = np.unique(member_M).astype(np.int64)
    num_outside = num_tokens - len(inside)
    most_inside = max(3 * max_points // 4, max_points - num_outside)
    drawn_inside = rng.permutation(inside)[:most_inside]
    num_drawn = min(max_points - len(drawn_inside), num_outside)
    rank = rng.choice(num_outside, num_drawn, replace=False) if num_drawn else np.empty(0, np.int64)
    # Before the r-th token outside are as many members as have at most r outsiders before them.
    outside = rank + np.searchsorted(inside - np.arange(len(inside)), rank, side="right")
    return np.sort(np.concatenate([drawn_inside, outside]))


def layout(points_nD: Floats, settings: LayoutSettings) -> Floats:
    """Positions [n, 2] in the unit square, the longer side filled.

    Raises ValueError if a coordinate is not finite.
    """
    points_nD = np.ascontiguousarray(points_nD, dtype=np.float32)
    if not len(points_nD):
        return np.zeros((0, 2))
    if not np.isfinite(points_nD).all():
        raise ValueError(
            f"the map needs finite coordinates, found {int((~np.isfinite(points_nD)).sum())} "
            "that are not: was the product written by an interrupted run?"
        )
    start_n2 = principal_axes(points_nD, settings)
    if not has_umap(len(points_nD)):
        return unit_square(start_n2)
    return unit_square(_umap(points_nD, start_n2, settings))


def has_umap(num_points: int) -> bool:
    """Whether so many points are laid out by UMAP; fewer are placed on their principal axes."""
    return num_points >= _LEAST_FOR_UMAP


def principal_axes(points_nD: Floats, settings: LayoutSettings) -> Floats:
    """Projection [n, 2] on the two axes of most variance; signs fixed, missing axes jittered."""
    centred_nD = points_nD.astype(np.float64) - points_nD.mean(axis=0, dtype=np.float64)
    _, vectors_DD = np.linalg.eigh(centred_nD.T @ centred_nD)
    axes_D2 = vectors_DD[:, ::-1][:, :2]
    strongest = np.abs(axes_D2).argmax(axis=0)
    axes_D2 = axes_D2 * np.sign(axes_D2[strongest, range(axes_D2.shape[1])])
    start_n2 = np.zeros((len(points_nD), 2))
    start_n2[:, : axes_D2.shape[1]] = centred_nD @ axes_D2
    scale = max(float(np.abs(start_n2).max(initial=0.0)), 1e-12)
    # Equal tokens must not start at one point, where UMAP's forces between them vanish.
    rng = np.random.default_rng([settings.seed, _POINTS_KEY, 1])
    return (start_n2 / scale + rng.normal(scale=1e-3, size=start_n2.shape)).astype(np.float32)


def _umap(points_nD: Floats, start_n2: Floats, settings: LayoutSettings) -> Floats:
    import umap  # compiles on import: seconds, the first time half a minute

    num_neighbours = min(settings.num_neighbours, len(points_nD) - 1)
    neighbour_nk, distance_nk = _with_itself(points_nD, num_neighbours)
    reducer = umap.UMAP(
        n_neighbors=num_neighbours,
        precomputed_knn=(neighbour_nk, distance_nk, None),
        init=start_n2 * 10,
        n_epochs=_NUM_EPOCHS,
        min_dist=0.15,
        random_state=settings.seed,
        n_jobs=1,
    )
    with warnings.catch_warnings():  # new tokens cannot be placed later: they are not meant to be
        warnings.filterwarnings("ignore", message=".*precomputed_knn.*")
        return np.asarray(reducer.fit_transform(points_nD), dtype=np.float64)


def _with_itself(points_nD: Floats, k: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Every point and its k − 1 nearest others, and their distances, as UMAP counts neighbours."""
    found = nearest_neighbours(points_nD, k - 1, search=NeighbourSearch.EXACT)
    index_nk = np.insert(found.index_Nk, 0, np.arange(len(points_nD)), axis=1)
    return index_nk, np.insert(found.distance_Nk, 0, 0.0, axis=1)


def unit_square(xy_n2: Floats) -> Floats:
    """Moved and scaled into [0, 1]², aspect kept, centred on the shorter side."""
    low_2, high_2 = xy_n2.min(axis=0), xy_n2.max(axis=0)
    scale = max(float((high_2 - low_2).max()), 1e-12)
    return np.asarray((xy_n2 - (low_2 + high_2) / 2) / scale + 0.5, dtype=np.float64)


def cluster_positions(xy_M2: Floats, cluster_M: Ints, num_clusters: int) -> Floats:
    """Median position [K, 2] of each cluster's tokens; NaN where none is drawn.

    `cluster_M` is the index of a token's cluster, −1 outside; a token may be there once for
    each of its clusters. A median, because a few tokens that UMAP left elsewhere must not pull
    the cluster's mark into empty space.
    """
    centre_K2 = np.full((num_clusters, 2), np.nan)
    count_K = np.bincount(cluster_M[cluster_M >= 0], minlength=num_clusters)
    some = np.flatnonzero(count_K)
    first = np.count_nonzero(cluster_M < 0) + np.cumsum(count_K)[some] - count_K[some]
    middle = first + (count_K[some] - 1) // 2, first + count_K[some] // 2
    for axis in range(2):
        value_M = xy_M2[np.lexsort((xy_M2[:, axis], cluster_M)), axis]
        centre_K2[some, axis] = (value_M[middle[0]] + value_M[middle[1]]) / 2
    return centre_K2
