"""Keyed random projection trees, whose leaves hold tokens that are probably near each other.

Shapes: N tokens, D dimensions.

A node is halved by the rank of the projection on the difference of two of its tokens, ties by row
number, so leaves are equal in size to within one, also with duplicates. The pair is drawn by (key,
tree, node): the same tree on any number of threads.
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

TREE_KEY = 0x72EE
"""Stream of random numbers, next to the seed."""
CLOSE_ROWS = 64
"""Largest leaf of the tree that orders the vectors in memory."""
ORDER_KEY = 0x0DE2
"""Stream of that tree."""


def tree_leaves(
    x_ND: NDArray[np.float32], leaf_rows: int, key: tuple[int, ...]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Rows in leaf order, and the bounds of the leaves."""
    num_rows = x_ND.shape[0]
    order = np.arange(num_rows, dtype=np.int32)
    bounds = np.array([0, num_rows], np.int64)
    level = 0
    while (np.diff(bounds) > leaf_rows).any():
        rng = np.random.default_rng((*key, TREE_KEY, level))
        first, count = bounds[:-1], np.diff(bounds)
        draws = rng.random((2, count.size))
        one = (draws[0] * count).astype(np.int64)
        other = (one + 1 + (draws[1] * (count - 1)).astype(np.int64)) % count
        towards = x_ND[order[first + one]] - x_ND[order[first + other]]
        node = np.repeat(np.arange(count.size), count)
        height = np.empty(num_rows, np.float32)
        _project(x_ND, order, towards, node, height)
        _sort_nodes(order, height, bounds)
        middles = first + count // 2
        bounds = np.sort(np.concatenate([bounds, middles]))
        level += 1
    return order, bounds


@njit(cache=True, nogil=True, parallel=True)  # type: ignore[untyped-decorator]
def _sort_nodes(
    order: NDArray[np.int32], height: NDArray[np.float32], bounds: NDArray[np.int64]
) -> None:
    """Stable sort of every node's rows by height."""
    for node in prange(bounds.size - 1):
        first, last = bounds[node], bounds[node + 1]
        by_height = np.argsort(height[first:last], kind="mergesort")
        order[first:last] = order[first:last][by_height]


@njit(cache=True, nogil=True, parallel=True)  # type: ignore[untyped-decorator]
def _project(
    x_ND: NDArray[np.float32],
    order: NDArray[np.int32],
    towards: NDArray[np.float32],
    node: NDArray[np.int64],
    height: NDArray[np.float32],
) -> None:
    for place in prange(order.size):
        total = np.float32(0)
        for i in range(x_ND.shape[1]):
            total += x_ND[order[place], i] * towards[node[place], i]
        height[place] = total
