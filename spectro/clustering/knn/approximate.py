"""Approximate neighbours: leaves of random trees, then rounds of neighbours of neighbours, again
until a sample's lists are good enough.

Shapes: N tokens, D dimensions, k neighbours, K places of a working list, R reverse places.

Working lists are by (float32 square, row); what is returned is measured again and
in the one order of lists.py. Nothing depends on the number of threads: a leaf's product only says
what to look at, with room for its rounding, a row is in one leaf of a tree, and a round reads the
lists of the round before. How hard to look follows from the data: a keyed sample of rows is
searched exactly first, and passes go on until its lists hold the wanted share of the neighbours;
where some passes do not reach it, all pairs are looked at.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray

from spectro.clustering.knn.complete import complete
from spectro.clustering.knn.descent import descend, join_leaf, reverse_lists
from spectro.clustering.knn.exact import exact_neighbours, row_blocks
from spectro.clustering.knn.lists import NONE, check_full, distance, empty_lists, in_order, insert
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.knn.products import ieee_products
from spectro.clustering.knn.recall import measured_recall, sample_rows
from spectro.clustering.knn.trees import CLOSE_ROWS, ORDER_KEY, leaves

logger = logging.getLogger(__name__)

SAMPLE_KEY = 0x5A3B
"""What the sample that ends the passes is drawn with: not the one that judges the lists."""
EXACT_ROWS = 65_536
"""Rows of the database that the sample is compared with at once."""
ROUND_ROWS = 65_536
"""Rows between two reports of progress."""


@dataclass(frozen=True, kw_only=True)
class Descent:
    """How hard to look (ADR 025)."""

    recall: float = 0.983
    """Share of the true neighbours of the sample that is enough; the goal is 0.98 of all rows."""
    num_sampled: int = 400
    """Rows of the sample: a standard error of about 0.002."""
    num_trees: int = 32
    """Trees of the first pass, half as many of every further one: products are cheap, steps
    through lists are not."""
    leaf_rows: int = 2048
    """Largest leaf; all of its pairs are compared."""
    max_passes: int = 3
    """After so many all pairs are looked at: by then that costs less than to go on (ADR 025)."""
    max_rounds: int = 2
    """Rounds of neighbours of neighbours after the trees of a pass."""
    min_changed: float = 0.02
    """End the rounds of a pass after one that changed a smaller share of the entries."""
    num_spare: int = 10
    """Places of a working list beyond k."""
    num_near: int = 16
    """Nearest places of a list that are looked around."""
    num_reverse: int = 8
    """R, rows that list a row and are looked around too."""


def approximate_neighbours(
    x_ND: NDArray[np.float32],
    k: int,
    *,
    seed: int | tuple[int, ...] = 0,
    descent: Descent = Descent(),
    progress: Callable[[int, int], None] | None = None,
) -> Neighbours:
    """Most of the k nearest others of every row of an array or memory map, N > k.

    `progress(done, total)` counts rows over trees and rounds; the total grows with every pass.
    """
    key = seed if isinstance(seed, tuple) else (seed,)
    # One copy in the order of small leaves: what is near lies near, also in memory.
    order, _ = leaves(x_ND, CLOSE_ROWS, (*key, ORDER_KEY))
    search = _Search(x_ND[order], k, descent)
    sample = sample_rows(x_ND.shape[0], descent.num_sampled, seed=key[0], use=SAMPLE_KEY)
    truth = exact_neighbours(search.x_ND[sample], sample, row_blocks(search.x_ND, EXACT_ROWS), k)
    for number in range(descent.max_passes):
        search.go(key, number, progress)
        recall = measured_recall(sample, search.lists_of(sample), truth).mean
        logger.info("pass %d: recall %.4f of a sample", number + 1, recall)
        if recall >= descent.recall:
            break
    lists = search.measured(order)
    if recall < descent.recall:
        complete(search.x_ND, lists, order, progress)
    check_full(lists)
    return in_order(lists, order)


class _Search:
    """Working lists, and what improves them."""

    def __init__(self, x_ND: NDArray[np.float32], k: int, descent: Descent) -> None:
        self.x_ND, self._k, self._descent = x_ND, k, descent
        shape = (x_ND.shape[0], min(k + descent.num_spare, x_ND.shape[0] - 1))
        self._index_NK = np.full(shape, NONE, np.int32)
        self._square_NK = np.full(shape, np.inf, np.float32)
        self._is_new_NK = np.zeros(shape, np.uint8)
        self._done = 0

    def go(
        self, key: tuple[int, ...], number: int, progress: Callable[[int, int], None] | None
    ) -> None:
        """One pass: some trees, then rounds."""
        descent, num_rows = self._descent, self.x_ND.shape[0]
        num_trees = descent.num_trees if number == 0 else -(-descent.num_trees // 2)
        total = self._done + (num_trees + descent.max_rounds) * num_rows

        def report(rows: int) -> None:
            self._done += rows
            if progress is not None:
                progress(self._done, total)

        for tree in range(num_trees):
            self._plant((*key, number, tree))
            report(num_rows)
        for _ in range(descent.max_rounds):
            looked, changed = self._round(report)
            logger.info("round: %.0f distances per row, %.4f of the entries changed",
                        looked / num_rows, changed)  # fmt: skip
            if changed < descent.min_changed:
                break
        report(total - self._done)

    def lists_of(self, places_S: NDArray[np.int64]) -> Neighbours:
        """The k best so far of some places, measured; others are named by their places."""
        return self._measured(places_S, np.arange(self.x_ND.shape[0], dtype=np.int32))

    def measured(self, order_N: NDArray[np.int32]) -> Neighbours:
        """The k best of every list by exact (distance, row); `order_N` names the rows."""
        return self._measured(np.arange(order_N.size), order_N)

    def _measured(self, place_M: NDArray[np.int64], name_N: NDArray[np.int32]) -> Neighbours:
        lists = empty_lists(place_M.size, self._k)
        _measure(self.x_ND, self._index_NK, place_M, name_N, lists.index_Nk, lists.distance_Nk)
        return lists

    def _plant(self, key: tuple[int, ...]) -> None:
        """Compare all pairs within the leaves of one tree."""
        # Half of a leaf still fills a list.
        leaf_rows = max(self._descent.leaf_rows, 4 * self._index_NK.shape[1])
        order, bounds = leaves(self.x_ND, leaf_rows, key)
        lists = self._index_NK, self._square_NK, self._is_new_NK

        def join(ends: tuple[int, int]) -> None:
            rows = np.sort(order[slice(*ends)])
            x_LD = torch.from_numpy(self.x_ND[rows])
            square_L = (x_LD * x_LD).sum(1)
            near_LL = torch.addmm(square_L, x_LD, x_LD.T, alpha=-2.0)
            join_leaf(self.x_ND, near_LL.numpy(), rows, square_L.numpy(), *lists)

        # A row is in one leaf: the lists that a thread writes are its own, and so are the threads
        # of its products (OpenMP's number belongs to the thread that calls).
        with (
            ieee_products("cpu"),
            ThreadPoolExecutor(
                numba.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)
            ) as pool,
        ):
            list(pool.map(join, pairwise(bounds.tolist())))

    def _round(self, report: Callable[[int], None]) -> tuple[int, float]:
        """One round over all rows, in place; distances begun, share of the entries changed."""
        lists = self._index_NK, self._square_NK, self._is_new_NK
        near = slice(0, self._descent.num_near)
        reverse, reverse_is_new = reverse_lists(
            self._index_NK, self._is_new_NK, self._descent.num_reverse
        )
        around = np.concatenate([self._index_NK[:, near], reverse], axis=1)
        around_is_new = np.concatenate([self._is_new_NK[:, near], reverse_is_new], axis=1)
        looked = 0
        for first in range(0, self.x_ND.shape[0], ROUND_ROWS):
            stop = min(first + ROUND_ROWS, self.x_ND.shape[0])
            own = (array[first:stop] for array in lists)
            looked += descend(self.x_ND, first, stop, around, around_is_new, *own)
            report(stop - first)
        return looked, float(self._is_new_NK.mean())


@njit(cache=True, nogil=True, parallel=True)  # type: ignore[untyped-decorator]
def _measure(
    x_ND: NDArray[np.float32],
    index_NK: NDArray[np.int32],
    place_M: NDArray[np.int64],
    name_N: NDArray[np.int32],
    index_Mk: NDArray[np.int32],
    distance_Mk: NDArray[np.float32],
) -> None:
    """The k best of the working lists of some places."""
    for m in prange(place_M.size):
        place = place_M[m]
        for other in index_NK[place]:
            if other >= 0:
                far = distance(x_ND[place], x_ND[other])
                insert(index_Mk[m], distance_Mk[m], name_N[other], far)
