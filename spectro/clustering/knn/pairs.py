"""kNN lists from pairs of row blocks, for more rows than one search takes (ADR 024, 025).

Exact search compares two blocks, and each block with itself; approximate search takes unions of two
blocks. `merge` combines a block's lists from all of its pairs.

Shapes: n rows of a block, D dimensions, k neighbours.
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.knn.approximate import approximate_neighbours
from spectro.clustering.knn.complete import basis_of
from spectro.clustering.knn.lists import NONE, empty_lists
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.knn.packed import pack
from spectro.clustering.knn.scan import RowBlock, cross_pairs
from spectro.clustering.knn.search import all_neighbours, check_finite

Progress = Callable[[int, int], None]
Block = tuple[int, NDArray[np.float32]]
"""Row number of the first row, and x [n, D]."""


def pair_neighbours(
    a: Block,
    b: Block,
    k: int,
    *,
    exact: bool,
    seed: int = 0,
    progress: Progress | None = None,
) -> Neighbours:
    """Lists of the rows of a, then of b, by global row number; of a alone if a is b.

    Exact: the nearest in the other block; else approximate ones in the union, keyed by `seed` and
    the blocks' first rows. Too few rows leave entries empty (row −1, distance infinite) for `merge`
    to fill. Needs a copy of both blocks, or two. ValueError if a value is not finite.
    """
    for _, x in (a, b):
        check_finite(x)
    if not exact:
        return _in_union(a, b, k, seed, progress)
    if a[0] == b[0]:
        return _shifted(all_neighbours(a[1], k, progress=progress), a[0])
    return _joined(_across(a, b, k, progress))


def _in_union(a: Block, b: Block, k: int, seed: int, progress: Progress | None) -> Neighbours:
    both = np.concatenate([a[1], b[1]])
    found = approximate_neighbours(
        both, min(k, both.shape[0] - 1), seed=(seed, a[0], b[0]), progress=progress
    )
    rows = np.concatenate([_rows(a), _rows(b)])
    return _widened(Neighbours(index_Nk=rows[found.index_Nk], distance_Nk=found.distance_Nk), k)


def _across(a: Block, b: Block, k: int, progress: Progress | None) -> tuple[Neighbours, Neighbours]:
    basis = basis_of(max(a[1], b[1], key=len), k)
    one, other = (
        RowBlock(packed=pack(x, basis), lists=empty_lists(x.shape[0], k), rows=_rows((first, x)))
        for first, x in (a, b)
    )
    cross_pairs(one, other, progress)
    return one.lists, other.lists


def _rows(block: Block) -> NDArray[np.int64]:
    return np.arange(block[0], block[0] + block[1].shape[0])


def _shifted(lists: Neighbours, first: int) -> Neighbours:
    index = np.where(lists.index_Nk == NONE, NONE, lists.index_Nk + first).astype(np.int32)
    return Neighbours(index_Nk=index, distance_Nk=lists.distance_Nk)


def _widened(found: Neighbours, k: int) -> Neighbours:
    """Lists padded to k entries."""
    wide = empty_lists(found.num_rows, k)
    wide.index_Nk[:, : found.index_Nk.shape[1]] = found.index_Nk
    wide.distance_Nk[:, : found.index_Nk.shape[1]] = found.distance_Nk
    return wide


def _joined(parts: Iterable[Neighbours]) -> Neighbours:
    found = list(parts)
    return Neighbours(
        index_Nk=np.concatenate([part.index_Nk for part in found]),
        distance_Nk=np.concatenate([part.distance_Nk for part in found]),
    )
