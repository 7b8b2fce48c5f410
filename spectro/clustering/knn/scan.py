"""Exact kNN lists by comparing all pairs with bounded matrix products (ADR 025).

A product bounds the distances of a tile of pairs from below (packed.py). In float32, with u = 2⁻²⁴
and any order of summation, the bound of two rows at most the distance d of a k-th neighbour apart
is off by less than

    (2D + 32) u (2|x| + d)²,        since |y| ≤ |x| + d

so pairs below d² plus this are examined: first by the product of the rests, then by the distance
from differences in float64 (lists.py). A pair is offered to both of its rows. Blocks of rows meet
as in a round-robin tournament, so that the threads of a round write to disjoint lists; the result
does not depend on their number.

Shapes: L, M rows of two blocks, D dimensions, d columns of the head, k neighbours.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from spectro.clustering.knn.lists import distance, insert
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.knn.packed import Packed, pack, plain
from spectro.clustering.knn.products import ieee_products

TILE_ROWS, TILE_COLUMNS = 1024, 256
"""A tile of products fits the cache and amortises a call."""
CHUNK, PART = 64, 16
"""Pairs compared with the bounds at once, and again if some are below."""
MAX_BLOCKS, LEAST_ROWS = 64, 2048
"""Blocks at most, and rows of a block at least."""
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class RowBlock:
    """Rows and their lists, updated in place."""

    packed: Packed
    """Vectors."""
    lists: Neighbours
    """Current k nearest by (distance, row)."""
    rows: NDArray[np.int64]
    """Row numbers; −1 for a query that is not a row."""

    def part(self, span: slice) -> "RowBlock":
        """A view of some of the rows."""
        p, lists = self.packed, self.lists
        packed = Packed(
            x_ND=p.x_ND[span],
            left_Nd=p.left_Nd[span],
            right_Nd=p.right_Nd[span],
            square_N=p.square_N[span],
            radius_N=p.radius_N[span],
            rest_NR=p.rest_NR[span],
        )
        part = Neighbours(index_Nk=lists.index_Nk[span], distance_Nk=lists.distance_Nk[span])
        return RowBlock(packed=packed, lists=part, rows=self.rows[span])

    def __len__(self) -> int:
        return int(self.rows.size)


def all_pairs(side: RowBlock, progress: Callable[[int, int], None] | None = None) -> None:
    """Offer every pair of different rows to both; `progress(done, total)` counts rounds."""
    num_blocks = _num_blocks(len(side))
    num_blocks += num_blocks % 2 if num_blocks > 1 else 0
    blocks = _blocks(side, num_blocks)
    rounds = [
        [partial(compare_blocks, blocks[a], blocks[b], same=a == b) for a, b in pairs]
        for pairs in tournament(num_blocks)
    ]
    _run_rounds(rounds, progress)


def cross_pairs(
    one: RowBlock, other: RowBlock, progress: Callable[[int, int], None] | None = None
) -> None:
    """Offer every pair of a row of one side and a row of the other to both."""
    num = _num_blocks(max(len(one), len(other)))
    ones, others = _blocks(one, num), _blocks(other, num)
    rounds = [
        [partial(compare_blocks, ones[i], others[(i + shift) % num]) for i in range(num)]
        for shift in range(num)
    ]
    _run_rounds(rounds, progress)


def _num_blocks(num_rows: int) -> int:
    return max(1, min(MAX_BLOCKS, -(-num_rows // LEAST_ROWS)))


def _blocks(side: RowBlock, num_blocks: int) -> list[RowBlock]:
    edges = np.linspace(0, len(side), num_blocks + 1).astype(np.int64)
    return [side.part(slice(low, high)) for low, high in pairwise(edges)]


def _run_rounds(
    rounds: Sequence[Sequence[Callable[[], None]]], progress: Callable[[int, int], None] | None
) -> None:
    """Run rounds of tasks; tasks of a round write to disjoint lists."""
    with _workers() as pool:
        for number, meetings in enumerate(rounds):
            for done in [pool.submit(meeting) for meeting in meetings]:
                done.result()
            if progress is not None:
                progress(number + 1, len(rounds))


def search_queries(queries: RowBlock, first: int, block_MD: Floats) -> None:
    """Offer the rows of a block, from row number `first` on, to the lists of the queries."""
    nothing = Neighbours(
        index_Nk=np.empty((block_MD.shape[0], 0), np.int32),
        distance_Nk=np.empty((block_MD.shape[0], 0), np.float32),
    )
    rows = np.arange(first, first + block_MD.shape[0])
    packed = pack(block_MD, plain(block_MD.shape[1]))
    other = RowBlock(packed=packed, lists=nothing, rows=rows)
    # Every thread gets some of few queries.
    num_parts = max(-(-len(queries) // TILE_ROWS), min(numba.get_num_threads(), len(queries)))
    parts = np.linspace(0, len(queries), num_parts + 1).astype(np.int64)
    with _workers() as pool:
        list(pool.map(lambda part: compare_blocks(queries.part(part), other, both=False),
                      [slice(low, high) for low, high in pairwise(parts)]))  # fmt: skip


@contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    """Numba's number of threads, one torch thread each, IEEE products."""
    with (
        ieee_products("cpu"),
        ThreadPoolExecutor(
            numba.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool,
    ):
        yield pool


def tournament(num_blocks: int) -> Iterator[list[tuple[int, int]]]:
    """Rounds in which no block appears twice: each with itself, then each pair (circle method).

    Needs an even number of blocks, or one.
    """
    yield [(block, block) for block in range(num_blocks)]
    ring = list(range(1, num_blocks))
    for _ in range(num_blocks - 1):
        order = [0, *ring]
        half = num_blocks // 2
        yield list(zip(order[:half], reversed(order[half:]), strict=True))
        ring = ring[1:] + ring[:1]


def compare_blocks(
    one: RowBlock, other: RowBlock, *, same: bool = False, both: bool = True
) -> None:
    """Offer all pairs of two blocks to the lists of `one`, and of `other` if `both`.

    With `same` the blocks are one, and every pair of different rows is offered once.
    """
    limit = _limits(one, True)
    limits = limit, limit if same else _limits(other, both)
    out = np.empty(TILE_ROWS * TILE_COLUMNS, np.float32)
    parts = list(_tiles(other, other.packed.right_Nd, limits[1], TILE_COLUMNS))
    for top, left_Ld, *rows in _tiles(one, one.packed.left_Nd, limits[0], TILE_ROWS):
        # Left of the diagonal nothing is offered.
        first = top // TILE_COLUMNS if same else 0
        for left, right_Md, *columns in parts[first:]:
            low_LM = out[: left_Ld.shape[0] * right_Md.shape[0]].reshape(
                left_Ld.shape[0], right_Md.shape[0]
            )
            torch.mm(left_Ld, right_Md.T, out=torch.from_numpy(low_LM))
            least = top - left if same else -1  # row i is offered columns from i + least + 1 on
            _sift(low_LM, least, same, both, *rows, *columns)


def _tiles(
    side: RowBlock, packed_Nd: Floats, limit_N: Floats, num_rows: int
) -> Iterator[tuple[Any, ...]]:
    """Per tile: first row, side of the product, bounds, vectors, rows, lists."""
    for start in range(0, len(side), num_rows):
        span = slice(start, start + num_rows)
        part = side.part(span)
        packed = torch.from_numpy(packed_Nd[span])
        yield start, packed, limit_N[span], *_arrays(part)


def _arrays(side: RowBlock) -> tuple[NDArray[np.generic], ...]:
    p = side.packed
    vectors = p.x_ND, p.square_N, p.radius_N, p.rest_NR
    return *vectors, side.rows, side.lists.index_Nk, side.lists.distance_Nk


def _limits(side: RowBlock, offered: bool) -> Floats:
    """Largest |x − y|² that may enter each row's list; −∞ if not offered."""
    limit = np.full(len(side), -np.inf, np.float32)
    if offered:
        num_dimensions = side.packed.x_ND.shape[1]
        _fill_limits(side.packed.square_N, side.lists.distance_Nk, num_dimensions, limit)
    return limit


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _limit(square: float, far: float, num_dimensions: int) -> np.float32:
    if far == np.inf:
        return np.float32(np.inf)
    far = far * (1.0 + 2.0**-22)  # the distance is rounded
    reach = 2.0 * np.sqrt(square) + far
    limit = far * far + (2 * num_dimensions + 32) * 2.0**-24 * reach * reach
    return np.float32(limit * (1.0 + 2.0**-22))  # never below it


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fill_limits(
    square_L: Floats, distance_Lk: Floats, num_dimensions: int, limit_L: Floats
) -> None:
    for row in range(limit_L.size):
        limit_L[row] = _limit(square_L[row], distance_Lk[row, -1], num_dimensions)


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _dot(x_R: Floats, y_R: Floats) -> np.float32:
    total = np.float32(0)
    for i in range(x_R.size):
        total += x_R[i] * y_R[i]
    return total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _any(low_C: Floats, square: float, limit: float, limit_C: Floats) -> int:
    """Number of pairs of a chunk below either bound; float32 sums, so that it vectorises."""
    count = np.int32(0)
    for c in range(low_C.size):
        whole = low_C[c] + square
        count += np.int32((whole <= limit) | (whole <= limit_C[c]))
    return int(count)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sift(
    low_LM: Floats, least: int, is_triangle: bool, both: bool,
    limit_L: Floats, x_LD: Floats, square_L: Floats, radius_L: Floats, rest_LR: Floats,
    row_L: NDArray[np.int64], index_Lk: NDArray[np.int32], distance_Lk: Floats,
    limit_M: Floats, y_MD: Floats, square_M: Floats, radius_M: Floats, rest_MR: Floats,
    row_M: NDArray[np.int64], index_Mk: NDArray[np.int32], distance_Mk: Floats,
) -> None:  # fmt: skip
    num_dimensions, has_rest = x_LD.shape[1], rest_LR.shape[1] > 0
    for l in range(low_LM.shape[0]):  # noqa: E741
        first = max(0, l + least + 1) if is_triangle else 0
        square, limit = square_L[l], limit_L[l]
        for start in range(first, low_LM.shape[1], CHUNK):
            stop = min(start + CHUNK, low_LM.shape[1])
            if _any(low_LM[l, start:stop], square, limit, limit_M[start:stop]) == 0:
                continue
            for near in range(start, stop, PART):
                end = min(near + PART, stop)
                if _any(low_LM[l, near:end], square, limit, limit_M[near:end]) == 0:
                    continue
                for m in range(near, end):
                    whole = low_LM[l, m] + square
                    if (whole > limit and whole > limit_M[m]) or row_L[l] == row_M[m]:
                        continue
                    if has_rest:
                        whole += 2 * (radius_L[l] * radius_M[m] - _dot(rest_LR[l], rest_MR[m]))
                        if whole > limit and whole > limit_M[m]:
                            continue
                    far = distance(x_LD[l], y_MD[m])
                    if insert(index_Lk[l], distance_Lk[l], row_M[m], far) >= 0:
                        limit = _limit(square, distance_Lk[l, -1], num_dimensions)
                    if both and insert(index_Mk[m], distance_Mk[m], row_L[l], far) >= 0:
                        limit_M[m] = _limit(square_M[m], distance_Mk[m, -1], num_dimensions)
        limit_L[l] = limit
