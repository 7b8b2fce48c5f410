"""kNN lists: the result of every search, and their merge.

Shapes: N tokens, D dimensions, k neighbours.

The order is by (distance in float32, row number). The distance of two tokens comes from one
compiled loop over differences in float64, the same number for any search and from either end, so
that lists merge in any order.
"""

from collections.abc import Iterable

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spectro.clustering.knn.neighbours import Neighbours

NONE = -1
"""Row number of an empty entry; no search returns one."""


def empty_lists(num_rows: int, k: int) -> Neighbours:
    """Empty lists, for a search to fill."""
    return Neighbours(
        index_Nk=np.full((num_rows, k), NONE, np.int32),
        distance_Nk=np.full((num_rows, k), np.inf, np.float32),
    )


def in_order(lists: Neighbours, order_N: NDArray[np.integer]) -> Neighbours:
    """Lists permuted so that list i goes to row order_N[i]."""
    found = empty_lists(*lists.index_Nk.shape)
    found.index_Nk[order_N], found.distance_Nk[order_N] = lists.index_Nk, lists.distance_Nk
    return found


def merge(lists: Iterable[Neighbours]) -> Neighbours:
    """The k nearest of several lists of the same tokens, in any order of lists.

    Holds one list beside the result. ValueError if there is none, shapes differ, or a row has fewer
    than k others in all of them.
    """
    merged: Neighbours | None = None
    for found in lists:
        if merged is None:
            merged = empty_lists(*found.index_Nk.shape)
        if found.index_Nk.shape != merged.index_Nk.shape:
            shapes = sorted({found.index_Nk.shape, merged.index_Nk.shape})
            raise ValueError(f"lists to merge must have one shape, found {shapes}: other blocks?")
        _merge_into(merged.index_Nk, merged.distance_Nk, found.index_Nk, found.distance_Nk)
    if merged is None:
        raise ValueError("expected at least one list of neighbours to merge, found none")
    check_full(merged)
    return merged


def check_full(lists: Neighbours) -> None:
    """ValueError if a list has an empty entry."""
    short = np.flatnonzero((lists.index_Nk == NONE).any(axis=1))
    if short.size:
        k = lists.index_Nk.shape[1]
        raise ValueError(
            f"expected {k} neighbours of every token, found fewer for {short.size} of "
            f"{lists.num_rows} (first {short[0]}): was a block left out?"
        )


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def distance(x_D: NDArray[np.float32], y_D: NDArray[np.float32]) -> np.float32:
    """‖x − y‖ from differences in float64, in a fixed order of four sums."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = x_D.size - x_D.size % 4
    for i in range(0, whole, 4):
        a += (np.float64(x_D[i]) - np.float64(y_D[i])) ** 2
        b += (np.float64(x_D[i + 1]) - np.float64(y_D[i + 1])) ** 2
        c += (np.float64(x_D[i + 2]) - np.float64(y_D[i + 2])) ** 2
        d += (np.float64(x_D[i + 3]) - np.float64(y_D[i + 3])) ** 2
    for i in range(whole, x_D.size):
        a += (np.float64(x_D[i]) - np.float64(y_D[i])) ** 2
    return np.float32(np.sqrt((a + b) + (c + d)))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def insert(
    index_k: NDArray[np.int32], distance_k: NDArray[np.float32], row: int, far: float
) -> int:
    """Insert `row` at distance `far` into an ordered list; its position, −1 if it does not fit or
    exists.
    """
    place = index_k.size
    while place > 0 and (
        far < distance_k[place - 1]
        or (far == distance_k[place - 1] and (row < index_k[place - 1] or index_k[place - 1] < 0))
    ):
        place -= 1
    # An equal row has the same distance, so it is just before.
    if place == index_k.size or (place > 0 and index_k[place - 1] == row):
        return -1
    for position in range(index_k.size - 1, place, -1):
        index_k[position] = index_k[position - 1]
        distance_k[position] = distance_k[position - 1]
    index_k[place] = row
    distance_k[place] = far
    return place


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _merge_into(
    index_Nk: NDArray[np.int32],
    distance_Nk: NDArray[np.float32],
    other_Nk: NDArray[np.int32],
    far_Nk: NDArray[np.float32],
) -> None:
    for row in range(index_Nk.shape[0]):
        for place in range(other_Nk.shape[1]):
            if other_Nk[row, place] >= 0:
                insert(index_Nk[row], distance_Nk[row], other_Nk[row, place], far_Nk[row, place])
