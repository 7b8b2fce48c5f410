"""Where the map puts its tokens: numbers only, no drawing.

UMAP (McInnes et al. 2018) of the preprocessed χ, with exact neighbours, started from the two
principal axes and single-threaded, so that the same run gives the same map (ADR 030).
Shapes: N measured tokens, D coordinates, n tokens drawn, K clusters.
"""

import warnings

import numpy as np
from numpy.typing import NDArray

from spectro.report.config import ReportConfig
from spectro.report.inputs import Floats, Ints

_POINTS_KEY = 0x706F696E
_LEAST_FOR_UMAP = 32
_NUM_EPOCHS = 200


def choose_points(clustered_N: NDArray[np.bool_], config: ReportConfig) -> Ints:
    """Rows to draw: clustered tokens first (at most ¾ of max_points), then background.

    `clustered_N` is true where a token is in a cluster. Ascending row indices.
    """
    rng = np.random.default_rng([config.seed, _POINTS_KEY])
    inside = rng.permutation(np.flatnonzero(clustered_N))
    outside = rng.permutation(np.flatnonzero(~clustered_N))
    num_inside = min(len(inside), max(3 * config.max_points // 4, config.max_points - len(outside)))
    chosen = np.concatenate([inside[:num_inside], outside[: config.max_points - num_inside]])
    return np.sort(chosen)


def layout(points_nD: Floats, config: ReportConfig) -> Floats:
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
    start_n2 = principal_axes(points_nD, config)
    if len(points_nD) < _LEAST_FOR_UMAP:
        return unit_square(start_n2)
    return unit_square(_umap(points_nD, start_n2, config))


def principal_axes(points_nD: Floats, config: ReportConfig) -> Floats:
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
    rng = np.random.default_rng([config.seed, _POINTS_KEY, 1])
    return (start_n2 / scale + rng.normal(scale=1e-3, size=start_n2.shape)).astype(np.float32)


def _umap(points_nD: Floats, start_n2: Floats, config: ReportConfig) -> Floats:
    import umap  # compiles on import: seconds, the first time half a minute
    from sklearn.neighbors import NearestNeighbors

    num_neighbours = min(config.num_neighbours, len(points_nD) - 1)
    search = NearestNeighbors(n_neighbors=num_neighbours, algorithm="brute").fit(points_nD)
    distance_nk, neighbour_nk = search.kneighbors(points_nD)
    reducer = umap.UMAP(
        n_neighbors=num_neighbours,
        precomputed_knn=(neighbour_nk, distance_nk.astype(np.float32), None),
        init=start_n2 * 10,
        n_epochs=_NUM_EPOCHS,
        min_dist=0.15,
        random_state=config.seed,
        n_jobs=1,
    )
    with warnings.catch_warnings():  # new tokens cannot be placed later: they are not meant to be
        warnings.filterwarnings("ignore", message=".*precomputed_knn.*")
        return np.asarray(reducer.fit_transform(points_nD), dtype=np.float64)


def unit_square(xy_n2: Floats) -> Floats:
    """Moved and scaled into [0, 1]², aspect kept, centred on the shorter side."""
    low_2, high_2 = xy_n2.min(axis=0), xy_n2.max(axis=0)
    scale = max(float((high_2 - low_2).max()), 1e-12)
    return np.asarray((xy_n2 - (low_2 + high_2) / 2) / scale + 0.5, dtype=np.float64)


def cluster_positions(xy_n2: Floats, cluster_n: Ints, num_clusters: int) -> Floats:
    """Median position [K, 2] of each cluster's tokens; NaN where none is drawn.

    `cluster_n` is the index of a token's cluster, −1 outside. A median, because a few tokens
    that UMAP left elsewhere must not pull the cluster's mark into empty space.
    """
    centre_K2 = np.full((num_clusters, 2), np.nan)
    for index in range(num_clusters):
        members_m2 = xy_n2[cluster_n == index]
        if len(members_m2):
            centre_K2[index] = np.median(members_m2, axis=0)
    return centre_K2
