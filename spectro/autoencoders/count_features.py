"""Counts of active features over the tokens of a set, compiled.

Shapes and measures: see matching.py. Scratch arrays are zero before and after every call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spectro.clustering.significance import draw_same_y


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _count(
    rows_m: NDArray[Any],
    start_N1: NDArray[np.int64],
    index: NDArray[Any],
    count_G: NDArray[np.int64],
    touched_G: NDArray[np.int64],
) -> int:
    """Adds up active features of some tokens; how many features were touched."""
    num = 0
    for row in rows_m:
        for place in range(start_N1[row], start_N1[row + 1]):
            feature = index[place]
            if count_G[feature] == 0:
                touched_G[num] = feature
                num += 1
            count_G[feature] += 1
    return num


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def best_features(
    rows_m: NDArray[Any],
    start_N1: NDArray[np.int64],
    index: NDArray[Any],
    active_G: NDArray[np.int64],
    count_G: NDArray[np.int64],
    touched_G: NDArray[np.int64],
    column_K: NDArray[np.int64],
    shared_K: NDArray[np.int64],
    f1_F: NDArray[np.float64],
    set_F: NDArray[np.int64],
    number: int,
    num_levels: int,
) -> None:
    """Fills the K best features of one set, each at its best level; counts are zero afterwards."""
    num = _count(rows_m, start_N1, index, count_G, touched_G)
    kept_K = np.zeros(column_K.size)
    touched_G[:num].sort()
    place = 0
    while place < num:
        feature, f1, column, shared = touched_G[place] // num_levels, 0.0, 0, 0
        while place < num and touched_G[place] // num_levels == feature:
            each = touched_G[place]
            own = 2.0 * count_G[each] / (rows_m.size + active_G[each])
            if own > f1:
                f1, column, shared = own, each, count_G[each]
            count_G[each] = 0
            place += 1
        if f1 > f1_F[feature]:
            f1_F[feature], set_F[feature] = f1, number
        slot = column_K.size
        while slot > 0 and f1 > kept_K[slot - 1]:
            slot -= 1
        if slot < column_K.size:
            for later in range(column_K.size - 1, slot, -1):
                kept_K[later] = kept_K[later - 1]
                column_K[later], shared_K[later] = column_K[later - 1], shared_K[later - 1]
            kept_K[slot], column_K[slot], shared_K[slot] = f1, column, shared


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def null_of_set(
    rows_m: NDArray[np.int32],
    start_N1: NDArray[np.int64],
    index: NDArray[Any],
    active_G: NDArray[np.int64],
    count_G: NDArray[np.int64],
    touched_G: NDArray[np.int64],
    y_N: NDArray[np.int64],
    token_N: NDArray[np.int32],
    start_V: NDArray[np.int64],
    stamp_N: NDArray[np.int8],
    rng: np.random.Generator,
    null_R: NDArray[np.float64],
) -> None:
    """Fills the best F1 of random sets with as many tokens of every y."""
    y_m = y_N[rows_m]
    order_m = np.argsort(y_m, kind="mergesort")
    drawn_m = np.empty_like(rows_m)
    for repeat in range(null_R.size):
        draw_same_y(drawn_m, y_m, order_m, token_N, start_V, stamp_N, rng)
        best = 0.0
        num = _count(drawn_m, start_N1, index, count_G, touched_G)
        for place in range(num):
            feature = touched_G[place]
            best = max(best, 2.0 * count_G[feature] / (rows_m.size + active_G[feature]))
            count_G[feature] = 0
        for row in drawn_m:
            stamp_N[row] = 0
        null_R[repeat] = best
