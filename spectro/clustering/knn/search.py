"""Chooses exact or approximate kNN search by the number of tokens, not the machine.

Shapes: N tokens, D dimensions, k neighbours.

In memory: `nearest_neighbours(x, k)`. Beyond `cluster.neighbour_rows` rows: blocks,
`pair_neighbours` of all `block_pairs` on any node, then `merge` per block (pairs.py; ADR 024, 025).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.config import NeighbourSearch
from spectro.clustering.knn.approximate import approximate_neighbours
from spectro.clustering.knn.complete import complete_lists
from spectro.clustering.knn.exact import row_blocks
from spectro.clustering.knn.lists import empty_lists, in_order
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.knn.search_plan import is_exact
from spectro.clustering.knn.trees import CLOSE_ROWS, ORDER_KEY, tree_leaves

Progress = Callable[[int, int], None]


def nearest_neighbours(
    x_ND: NDArray[np.float32],
    k: int,
    *,
    search: NeighbourSearch = NeighbourSearch.AUTO,
    seed: int = 0,
    progress: Progress | None = None,
) -> Neighbours:
    """The k nearest others of every row of an array or memory map.

    `progress(done, total)` in rows or rounds. ValueError if N ≤ k or a value is not finite.
    """
    require_enough(x_ND.shape[0], k)
    check_finite(x_ND)
    if not is_exact(x_ND.shape[0], search):
        return approximate_neighbours(x_ND, k, seed=seed, progress=progress)
    return all_neighbours(x_ND, k, progress=progress)


BLOCK_ROWS = 65_536
"""Rows that are checked at once."""


def all_neighbours(
    x_ND: NDArray[np.float32], k: int, *, progress: Progress | None = None
) -> Neighbours:
    """Exact k nearest others of every row on all threads; entries stay empty if N ≤ k.

    Rows are visited in leaf order, so that lists are nearly right early.
    """
    order, _ = tree_leaves(x_ND, CLOSE_ROWS, (ORDER_KEY,))
    lists = empty_lists(order.size, k)
    complete_lists(np.ascontiguousarray(x_ND[order]), lists, order, progress)
    return in_order(lists, order)


def require_enough(num_tokens: int, k: int) -> None:
    """ValueError unless so many tokens have k neighbours each."""
    if num_tokens <= k:
        raise ValueError(
            f"clustering with k = {k} needs more than {k} tokens, found {num_tokens}: "
            "lower cluster.num_neighbours or measure more tokens"
        )


def check_finite(x_ND: NDArray[np.float32]) -> None:
    """ValueError naming the first row that is not finite."""
    for first, block in row_blocks(x_ND, BLOCK_ROWS):
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if bad.size:
            raise ValueError(
                f"vectors to cluster are not finite (first row {first + bad[0]}): "
                "were they preprocessed?"
            )
