"""Exact k nearest neighbours (design.md §6.2); the approximate index will answer the same call.

Shapes: N tokens, D dimensions, k neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_SPARE = 8
"""Candidates beyond k that are fetched, so that rounding in the search cannot cost a neighbour."""
BLOCK_ROWS = 4096
"""Rows searched at once: bounds memory and gives progress something to count."""


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The k nearest others of every token, nearest first, ties by index."""

    index_Nk: NDArray[np.int32]
    """Their row numbers; never the token itself."""
    distance_Nk: NDArray[np.float64]
    """Euclidean distance; 0 between duplicates."""


def nearest_neighbours(
    x_ND: NDArray[np.float32],
    k: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Neighbours:
    """Brute force by scikit-learn, then distances again in float64 from the differences.

    The search expands |x−y|² = |x|² − 2x·y + |y|², which loses duplicates to rounding; the
    second pass does not, and orders by (distance, index). ValueError when N ≤ k or not finite.
    """
    num_tokens = x_ND.shape[0]
    if num_tokens <= k:
        raise ValueError(
            f"clustering with k = {k} needs more than {k} tokens, found {num_tokens}: "
            "lower cluster.num_neighbours or measure more tokens"
        )
    if not np.isfinite(x_ND).all():
        raise ValueError("vectors to cluster are not finite: were they preprocessed?")
    # Takes two seconds to import; only those who cluster pay.
    from sklearn.neighbors import NearestNeighbors

    x = np.ascontiguousarray(x_ND, np.float64)
    num_fetched = min(num_tokens, k + 1 + NUM_SPARE)
    search = NearestNeighbors(n_neighbors=num_fetched, algorithm="brute").fit(x)
    index_Nk = np.empty((num_tokens, k), np.int32)
    distance_Nk = np.empty((num_tokens, k), np.float64)
    for start in range(0, num_tokens, BLOCK_ROWS):
        rows = np.arange(start, min(start + BLOCK_ROWS, num_tokens))
        candidates = search.kneighbors(x[rows], return_distance=False)
        index_Nk[rows], distance_Nk[rows] = _refine(x, rows, candidates, k)
        if progress is not None:
            progress(int(rows[-1]) + 1, num_tokens)
    return Neighbours(index_Nk=index_Nk, distance_Nk=distance_Nk)


def _refine(
    x: NDArray[np.float64], rows: NDArray[np.int64], candidates: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k best of the candidates without the token itself, by (exact distance, index)."""
    squared = np.empty(candidates.shape)
    for column in range(candidates.shape[1]):
        difference = x[candidates[:, column]] - x[rows]
        squared[:, column] = np.einsum("nd,nd->n", difference, difference)
    squared[candidates == rows[:, None]] = np.inf
    order = np.lexsort((candidates, squared), axis=1)[:, :k]
    index = np.take_along_axis(candidates, order, axis=1)
    return index, np.sqrt(np.take_along_axis(squared, order, axis=1))
