"""Approximate kNN search: random projection trees, then NN-descent, until a sample's recall
suffices.

Shapes: N tokens, D dimensions, k neighbours, K entries of a working list, R reverse entries.

Working lists are ordered by (float32 squared distance, row); results are re-measured in the order
of lists.py. The number of threads changes nothing: products only select candidates, with room for
rounding, a row is in one leaf of a tree, and a round reads the lists of the round before. A keyed
sample of rows is searched exactly first; passes continue until its lists reach the recall, and
after `max_passes` all pairs are compared.
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

from spectro.clustering.knn.complete import complete_lists
from spectro.clustering.knn.exact import exact_neighbours, row_blocks
from spectro.clustering.knn.lists import NONE, check_full, distance, empty_lists, in_order, insert
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.knn.nn_descent import join_leaf, nn_descent_round, reverse_lists
from spectro.clustering.knn.products import ieee_products
from spectro.clustering.knn.recall import measured_recall, sample_rows
from spectro.clustering.knn.trees import CLOSE_ROWS, ORDER_KEY, tree_leaves

logger = logging.getLogger(__name__)

SAMPLE_KEY = 0x5A3B
"""Stream of the sample that ends the passes; differs from that of the recall unit."""
EXACT_ROWS = 65_536
"""Rows that the sample is compared with at once."""
ROUND_ROWS = 65_536
"""Rows between progress reports."""


@dataclass(frozen=True, kw_only=True)
class NNDescentSettings:
    """Effort of the search (ADR 025)."""

    recall: float = 0.983
    """Sufficient recall of the sample; the goal is 0.98 of all rows."""
    num_sampled: int = 400
    """Sampled rows: a standard error of about 0.002."""
    num_trees: int = 32
    """Trees of the first pass, half as many in further ones."""
    leaf_rows: int = 2048
    """Largest leaf; all of its pairs are compared."""
    max_passes: int = 3
    """Afterwards all pairs are compared, which then costs less."""
    max_rounds: int = 2
    """NN-descent rounds after the trees of a pass."""
    min_changed: float = 0.02
    """End the rounds when a smaller share of the entries changed."""
    num_spare: int = 10
    """Entries of a working list beyond k."""
    num_near: int = 16
    """Nearest entries of a list whose neighbours are compared."""
    num_reverse: int = 8
    """R, reverse entries whose neighbours are compared."""


def approximate_neighbours(
    x_ND: NDArray[np.float32],
    k: int,
    *,
    seed: int | tuple[int, ...] = 0,
    settings: NNDescentSettings = NNDescentSettings(),
    progress: Callable[[int, int], None] | None = None,
) -> Neighbours:
    """Approximate k nearest others of every row of an array or memory map, N > k.

    `progress(done, total)` counts rows over trees and rounds; the total grows with every pass.
    """
    key = seed if isinstance(seed, tuple) else (seed,)
    # A copy in leaf order: neighbours are close in memory.
    order, _ = tree_leaves(x_ND, CLOSE_ROWS, (*key, ORDER_KEY))
    search = _Search(x_ND[order], k, settings)
    sample = sample_rows(x_ND.shape[0], settings.num_sampled, seed=key[0], use=SAMPLE_KEY)
    truth = exact_neighbours(search.x_ND[sample], sample, row_blocks(search.x_ND, EXACT_ROWS), k)
    for number in range(settings.max_passes):
        search.run_pass(key, number, progress)
        recall = measured_recall(sample, search.lists_of(sample), truth).mean
        logger.info("pass %d: recall %.4f of a sample", number + 1, recall)
        if recall >= settings.recall:
            break
    lists = search.measured(order)
    if recall < settings.recall:
        complete_lists(search.x_ND, lists, order, progress)
    check_full(lists)
    return in_order(lists, order)


class _Search:
    """Working lists and the passes that improve them."""

    def __init__(self, x_ND: NDArray[np.float32], k: int, settings: NNDescentSettings) -> None:
        self.x_ND, self._k, self._settings = x_ND, k, settings
        shape = (x_ND.shape[0], min(k + settings.num_spare, x_ND.shape[0] - 1))
        self._index_NK = np.full(shape, NONE, np.int32)
        self._square_NK = np.full(shape, np.inf, np.float32)
        self._is_new_NK = np.zeros(shape, np.uint8)
        self._done = 0

    def run_pass(
        self, key: tuple[int, ...], number: int, progress: Callable[[int, int], None] | None
    ) -> None:
        """One pass: trees, then NN-descent rounds."""
        settings, num_rows = self._settings, self.x_ND.shape[0]
        num_trees = settings.num_trees if number == 0 else -(-settings.num_trees // 2)
        total = self._done + (num_trees + settings.max_rounds) * num_rows

        def report(rows: int) -> None:
            self._done += rows
            if progress is not None:
                progress(self._done, total)

        for tree in range(num_trees):
            self._join_leaves_of_tree((*key, number, tree))
            report(num_rows)
        for _ in range(settings.max_rounds):
            looked, changed = self._round(report)
            logger.info("round: %.0f distances per row, %.4f of the entries changed",
                        looked / num_rows, changed)  # fmt: skip
            if changed < settings.min_changed:
                break
        report(total - self._done)

    def lists_of(self, places_S: NDArray[np.int64]) -> Neighbours:
        """The k best so far of some rows (in leaf order), re-measured."""
        return self._measured(places_S, np.arange(self.x_ND.shape[0], dtype=np.int32))

    def measured(self, order_N: NDArray[np.int32]) -> Neighbours:
        """The k best of every list by exact (distance, row); `order_N` is each vector's row."""
        return self._measured(np.arange(order_N.size), order_N)

    def _measured(self, place_M: NDArray[np.int64], name_N: NDArray[np.int32]) -> Neighbours:
        lists = empty_lists(place_M.size, self._k)
        _measure(self.x_ND, self._index_NK, place_M, name_N, lists.index_Nk, lists.distance_Nk)
        return lists

    def _join_leaves_of_tree(self, key: tuple[int, ...]) -> None:
        # Half a leaf still fills a list.
        leaf_rows = max(self._settings.leaf_rows, 4 * self._index_NK.shape[1])
        order, bounds = tree_leaves(self.x_ND, leaf_rows, key)
        lists = self._index_NK, self._square_NK, self._is_new_NK

        def join(ends: tuple[int, int]) -> None:
            rows = np.sort(order[slice(*ends)])
            x_LD = torch.from_numpy(self.x_ND[rows])
            square_L = (x_LD * x_LD).sum(1)
            near_LL = torch.addmm(square_L, x_LD, x_LD.T, alpha=-2.0)
            join_leaf(self.x_ND, near_LL.numpy(), rows, square_L.numpy(), *lists)

        # Leaves share no rows, so threads write disjoint lists; torch's thread
        # count is per calling thread.
        with (
            ieee_products("cpu"),
            ThreadPoolExecutor(
                numba.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)
            ) as pool,
        ):
            list(pool.map(join, pairwise(bounds.tolist())))

    def _round(self, report: Callable[[int], None]) -> tuple[int, float]:
        """One NN-descent round in place; returns distances computed, share of changed entries."""
        lists = self._index_NK, self._square_NK, self._is_new_NK
        near = slice(0, self._settings.num_near)
        reverse, reverse_is_new = reverse_lists(
            self._index_NK, self._is_new_NK, self._settings.num_reverse
        )
        around = np.concatenate([self._index_NK[:, near], reverse], axis=1)
        around_is_new = np.concatenate([self._is_new_NK[:, near], reverse_is_new], axis=1)
        looked = 0
        for first in range(0, self.x_ND.shape[0], ROUND_ROWS):
            stop = min(first + ROUND_ROWS, self.x_ND.shape[0])
            own = (array[first:stop] for array in lists)
            looked += nn_descent_round(self.x_ND, first, stop, around, around_is_new, *own)
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
    for m in prange(place_M.size):
        place = place_M[m]
        for other in index_NK[place]:
            if other >= 0:
                far = distance(x_ND[place], x_ND[other])
                insert(index_Mk[m], distance_Mk[m], name_N[other], far)
