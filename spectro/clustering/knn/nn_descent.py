"""Neighbours of neighbours, each row from the last round's lists alone.

Source of the idea: Dong, Moses & Li 2011 (NN-descent).

Shapes: N tokens, D dimensions, K places of a working list, R reverse places, W = K + R.

NN-descent as published, and as libraries have it, lets threads write into each other's lists: what
comes out depends on their number. Here a round reads the lists of the round before and writes new
ones, every row its own: twice the distances, no locks, and the same lists on one thread or fifty,
over any ranges of rows.
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from spectro.clustering.knn.lists import insert

PLACES_PER_PATH = 3
"""Places of the set of rows that a row has looked at, at least, per path of two steps."""
CHUNK = 64
"""Dimensions summed before a distance is compared with the bound and perhaps given up."""


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def near_square(x_D: NDArray[np.float32], y_D: NDArray[np.float32], bound: float) -> np.float32:
    """|x − y|² in float32, or something above the bound as soon as that is certain."""
    total = np.float32(0)
    for start in range(0, x_D.size, CHUNK):
        part = np.float32(0)
        for i in range(start, min(start + CHUNK, x_D.size)):
            difference = x_D[i] - y_D[i]
            part += difference * difference
        total += part
        if total > bound:
            break
    return total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _room(worst: float, square: float, slack: float) -> float:
    """Largest |y|² − 2 x·y of a y nearer than `worst`, with room for both roundings (exact.py)."""
    if worst == np.inf:
        return np.inf
    reach = 2.0 * np.sqrt(square) + np.sqrt(worst)
    return float(worst - square + slack * reach * reach)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _mark(is_new_K: NDArray[np.uint8], place: int) -> None:
    """Follow an insertion at `place`."""
    for position in range(is_new_K.size - 1, place, -1):
        is_new_K[position] = is_new_K[position - 1]
    is_new_K[place] = 1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def join_leaf(
    x_ND: NDArray[np.float32],
    near_LL: NDArray[np.float32],
    rows_L: NDArray[np.int32],
    square_L: NDArray[np.float32],
    index_NK: NDArray[np.int32],
    square_NK: NDArray[np.float32],
    is_new_NK: NDArray[np.uint8],
) -> None:
    """Insert into the lists of a leaf's rows what its product of all pairs shows to be near."""
    for a in range(rows_L.size):
        row = rows_L[a]
        worst = square_NK[row, -1]
        slack = (4 * x_ND.shape[1] + 16) * 2.0**-24
        bound = _room(worst, square_L[a], slack)
        for b in range(rows_L.size):
            if near_LL[a, b] < bound and a != b:
                far = near_square(x_ND[row], x_ND[rows_L[b]], worst)
                place = insert(index_NK[row], square_NK[row], rows_L[b], far)
                if place >= 0:
                    _mark(is_new_NK[row], place)
                    worst = square_NK[row, -1]
                    bound = _room(worst, square_L[a], slack)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def reverse_lists(
    index_NK: NDArray[np.int32], is_new_NK: NDArray[np.uint8], num_places: int
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Per row, rows that list it and are not in its own list; nearest ranks first, then by row.

    Rank by rank, so that a hub keeps those to whom it is nearest. Returns rows, −1 where empty,
    and whether the entry is new.
    """
    num_rows = index_NK.shape[0]
    reverse_NR = np.full((num_rows, num_places), -1, np.int32)
    is_new_NR = np.zeros((num_rows, num_places), np.uint8)
    count = np.zeros(num_rows, np.int32)
    for rank in range(index_NK.shape[1]):
        for row in range(num_rows):
            other = index_NK[row, rank]
            if other < 0 or count[other] == num_places or _holds(index_NK[other], row):
                continue
            reverse_NR[other, count[other]] = row
            is_new_NR[other, count[other]] = is_new_NK[row, rank]
            count[other] += 1
    return reverse_NR, is_new_NR


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _holds(index_K: NDArray[np.int32], row: int) -> bool:
    for other in index_K:  # noqa: SIM110 (compiled)
        if other == row:
            return True
    return False


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _visit(seen: NDArray[np.int32], row: int) -> bool:
    """Enter a row into the set; False if it was there or the set is full."""
    place = (row * 2654435761) & (seen.size - 1)
    for _ in range(64):
        if seen[place] == row:
            return False
        if seen[place] < 0:
            seen[place] = row
            return True
        place = (place + 1) & (seen.size - 1)
    return False


@njit(cache=True, nogil=True, parallel=True)  # type: ignore[untyped-decorator]
def nn_descent_round(
    x_ND: NDArray[np.float32],
    first: int,
    stop: int,
    around_NW: NDArray[np.int32],
    is_new_NW: NDArray[np.uint8],
    index_MK: NDArray[np.int32],
    square_MK: NDArray[np.float32],
    changed_MK: NDArray[np.uint8],
) -> int:
    """One round for the rows first … stop: look at the rows around the rows around each.

    `around_NW` are the lists of the last round with their reverse, `index_MK` the lists of these
    rows, copied from the last round, and `changed_MK` becomes 1 where an entry is new. A path of
    two old steps was looked at before. Returns how many distances were begun.
    """
    num_looked = np.zeros(stop - first, np.int64)
    num_places = 1
    while num_places < PLACES_PER_PATH * (around_NW.shape[1] ** 2 + index_MK.shape[1]):
        num_places *= 2
    for m in prange(stop - first):
        row = first + m
        seen = np.full(num_places, -1, np.int32)
        _visit(seen, row)
        for other in index_MK[m]:
            _visit(seen, other)
        changed_MK[m] = 0
        worst = square_MK[m, -1]
        for w in range(around_NW.shape[1]):
            middle = around_NW[row, w]
            if middle < 0:
                continue
            for v in range(around_NW.shape[1]):
                other = around_NW[middle, v]
                if other < 0 or not (is_new_NW[row, w] or is_new_NW[middle, v]):
                    continue
                if not _visit(seen, other):
                    continue
                num_looked[m] += 1
                far = near_square(x_ND[row], x_ND[other], worst)
                if far >= worst:
                    continue
                place = insert(index_MK[m], square_MK[m], other, far)
                if place >= 0:
                    _mark(changed_MK[m], place)
                    worst = square_MK[m, -1]
    return int(num_looked.sum())
