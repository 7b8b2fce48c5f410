"""Exact kNN search: a matrix product selects candidates, differences measure them.

Shapes: Q queries of a batch, M rows of a block, N tokens, D dimensions, k neighbours.

The product gives |x − y|² = |x|² − 2 x·y + |y|² with rounding errors. With u = 2⁻²⁴ and any order
of summation, its error for a y at most as far from x as the current k-th neighbour, at distance d,
is below

    (2D + 8) u (2|x| + d)²,        since |y| ≤ |x| + d

so every y whose product is at most d² plus this is re-measured, and no other y can belong to the
list. The lists are therefore the same for any threads, device, order and size of blocks.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from spectro.clustering.knn.lists import check_full, distance, empty_lists, insert
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.knn.packed import pack, plain
from spectro.clustering.knn.products import ieee_products
from spectro.clustering.knn.scan import RowBlock, search_queries

QUERY_ROWS, BLOCK_ROWS = 8192, 131072
"""Queries and rows of one product on a device."""

Blocks = Iterable[tuple[int, NDArray[np.float32]]]


def exact_neighbours(
    query_ND: NDArray[np.float32],
    query_rows: NDArray[np.integer],
    blocks: Blocks,
    k: int,
    *,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Neighbours:
    """The k nearest of each query among the rows of all blocks, except itself.

    `blocks` yields (row number of the first row, x float32 [M, D]) in any order, each row once;
    `query_rows` are the queries' row numbers, −1 for a query that is not a row. `progress(rows)`
    counts the rows done after every block. ValueError if the blocks have fewer than k others.
    """
    query = _compact(query_ND)
    rows = np.ascontiguousarray(query_rows, np.int64)
    if rows.shape != (query.shape[0],):
        raise ValueError(f"expected {query.shape[0]} row numbers of queries, found {rows.shape}")
    lists, num_done = empty_lists(query.shape[0], k), 0
    queries = None
    if torch.device(device).type == "cpu":
        queries = RowBlock(packed=pack(query, plain(query.shape[1])), lists=lists, rows=rows)
    for first, block_MD in blocks:
        if queries is not None:
            search_queries(queries, first, block_MD)
        else:
            _search_block(lists, query, rows, first, block_MD, torch.device(device))
        num_done += block_MD.shape[0]
        if progress is not None:
            progress(num_done)
    check_full(lists)
    return lists


def row_blocks(
    x_ND: NDArray[np.float32], num_rows: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Consecutive blocks of an array or memory map."""
    for first in range(0, x_ND.shape[0], num_rows):
        yield first, x_ND[first : first + num_rows]


def _search_block(
    lists: Neighbours,
    query: NDArray[np.float32],
    rows: NDArray[np.int64],
    first: int,
    block_MD: NDArray[np.float32],
    device: torch.device,
) -> None:
    """Update the lists with a block, on a device."""
    for offset, part in row_blocks(block_MD, BLOCK_ROWS):
        part = _compact(part)
        part_MD = torch.from_numpy(part).to(device)
        square_M = (part_MD * part_MD).sum(1)
        for start, some in row_blocks(query, QUERY_ROWS):
            stop = start + some.shape[0]
            some_QD = torch.from_numpy(some).to(device)
            found = (lists.index_Nk[start:stop], lists.distance_Nk[start:stop])
            with ieee_products(device.type):
                near_QM = torch.addmm(square_M, some_QD, part_MD.T, alpha=-2.0)
            _scan_device(near_QM, some, part, rows[start:stop], first + offset, *found)


def _scan_device(
    near_QM: torch.Tensor,
    query_QD: NDArray[np.float32],
    block_MD: NDArray[np.float32],
    rows_Q: NDArray[np.int64],
    first: int,
    index_Qk: NDArray[np.int32],
    distance_Qk: NDArray[np.float32],
) -> None:
    """Compare on the device; the lists stay on the host.

    Lists that are not full have no bound: the nearest of this block by the product fill them.
    """
    if (index_Qk < 0).any():
        num_first = min(near_QM.shape[1], index_Qk.shape[1] + 1)
        column_Qm = near_QM.topk(num_first, largest=False).indices.cpu().numpy()
        row = np.repeat(np.arange(query_QD.shape[0]), num_first)
        _measure(row, column_Qm.ravel(), query_QD, block_MD, rows_Q, first, index_Qk, distance_Qk)
    bound_Q = np.empty(query_QD.shape[0], np.float32)
    _bounds(query_QD, distance_Qk, bound_Q)
    near = (near_QM <= torch.from_numpy(bound_Q).to(near_QM.device)[:, None]).nonzero()
    row, column = near.cpu().numpy().T
    _measure(row, column, query_QD, block_MD, rows_Q, first, index_Qk, distance_Qk)


def _compact(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """A writable contiguous view, else a copy (torch warns of read-only arrays)."""
    x = np.ascontiguousarray(x, np.float32)
    return x if x.flags.writeable else x.copy()


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _bound(query_D: NDArray[np.float32], square: float, far: float) -> float:
    """Largest |y|² − 2 x·y of a y at distance `far` or less."""
    if far == np.inf:
        return np.inf
    far = far * (1.0 + 2.0**-22)
    reach = 2.0 * np.sqrt(square) + far
    return float(far * far - square + (2 * query_D.size + 8) * 2.0**-24 * reach * reach)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _square(x_D: NDArray[np.float32]) -> float:
    total = 0.0
    for value in x_D:
        total += np.float64(value) * np.float64(value)
    return total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _bounds(
    query_QD: NDArray[np.float32], distance_Qk: NDArray[np.float32], bound_Q: NDArray[np.float32]
) -> None:
    for q in range(query_QD.shape[0]):
        bound = _bound(query_QD[q], _square(query_QD[q]), distance_Qk[q, -1])
        bound_Q[q] = np.float32(bound + abs(bound) * 2.0**-22)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _measure(
    row_P: NDArray[np.int64],
    column_P: NDArray[np.int64],
    query_QD: NDArray[np.float32],
    block_MD: NDArray[np.float32],
    rows_Q: NDArray[np.int64],
    first: int,
    index_Qk: NDArray[np.int32],
    distance_Qk: NDArray[np.float32],
) -> None:
    for p in range(row_P.size):
        q, m = row_P[p], column_P[p]
        if first + m != rows_Q[q]:
            far = distance(query_QD[q], block_MD[m])
            insert(index_Qk[q], distance_Qk[q], first + m, far)
