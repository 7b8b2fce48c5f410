"""Edges of the kNN graph from kNN lists, in two passes over memory or memory maps.

Each part of the rows is written by one thread, which reads all lists and picks the entries that
point at its rows in ascending order: the number of parts and threads does not change a bit.

Shapes: N nodes, k neighbours in a list, E entries, P parts.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spectro.clustering.knn.neighbours import Neighbours

SIGMA_FLOOR = 1e-3
"""Least σ as a share of the median: more than k duplicates would give σ = 0."""
MIN_WEIGHT = 1e-12
"""Lighter edges are left out: they carry nothing and cost as much."""
MAX_EXPONENT = -float(np.log(MIN_WEIGHT))

Distances = NDArray[np.floating]


class Csr(NamedTuple):
    """CSR arrays; see `Graph`."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    weights: NDArray[np.float32]
    degrees: NDArray[np.float64]
    num_mutual: int


class Allocate(Protocol):
    """Allocates a writable array, in memory or in a file."""

    def __call__(self, name: str, dtype: type[np.generic], *shape: int) -> NDArray[Any]:
        """`name` is unique within a graph."""
        ...


def check_lists(neighbours: Neighbours, num_threads: int = 1) -> None:
    """ValueError naming a token with an invalid list: compiled code does not check."""
    lists = _arrays(neighbours)
    bounds = part_bounds(len(lists[0]), num_threads)
    rows = [row for row in in_parts(lambda *part: _first_bad(*lists, *part), bounds) if row >= 0]
    if rows:
        index, distance = lists[0][rows[0]], lists[1][rows[0]]
        raise ValueError(
            f"expected k other tokens of 0 … {len(lists[0]) - 1} by rising finite distance, "
            f"found {index[:3].tolist()} … at {distance[:3].tolist()} … for token {rows[0]}: "
            "is the list of another run, or unfinished?"
        )


def build_csr(
    neighbours: Neighbours,
    allocate: Allocate,
    num_threads: int = 1,
    token_N: NDArray[np.int32] | None = None,
) -> Csr:
    """Count, allocate, fill; beyond lists and result 12 bytes per node.

    An edge joins x and y if either lists the other, with the lesser listed distance d and w =
    exp(−d² / (σ_x σ_y)), symmetric to the bit. ValueError if all tokens coincide, or a list names a
    token twice; `token_N` is the token of each node, for the message.
    """
    lists = _arrays(neighbours)
    num_nodes = len(lists[0])
    bounds = part_bounds(num_nodes, num_threads)
    sigma_N = local_scales(lists[1]).sigma_N
    indptr = allocate("indptr", np.int64, num_nodes + 1)
    mutual = in_parts(lambda low, high: _count(*lists, sigma_N, low, high, indptr), bounds)
    num_entries = _accumulate(indptr)
    csr = Csr(
        indptr,
        allocate("indices", np.int32, num_entries),
        allocate("weights", np.float32, num_entries),
        allocate("degrees", np.float64, num_nodes),
        sum(mutual) // 2,
    )
    repeated = in_parts(lambda low, high: _fill(*lists, sigma_N, low, high, *csr[:4]), bounds)
    if max(repeated) >= 0:
        node = max(repeated)
        raise ValueError(
            f"a list of neighbours names token {node if token_N is None else token_N[node]} twice: "
            "were lists of overlapping blocks merged without removing what they share?"
        )
    return csr


class LocalScales(NamedTuple):
    """Local scale σ of every token."""

    sigma_N: NDArray[np.float64]
    """Distance to the k-th neighbour, at least the floor."""
    floor: float
    """Least σ: a share of the median of the positive ones."""


def local_scales(distance_Nk: Distances) -> LocalScales:
    """Local scales from the lists of all tokens; ValueError if all coincide."""
    last_N: Distances = np.array(distance_Nk[:, -1])  # 4 bytes per node, not 8
    positive = last_N[last_N > 0]
    if positive.size == 0:
        raise ValueError(
            f"all {last_N.size} tokens coincide with at least {distance_Nk.shape[1]} others: "
            "there is no distance to cluster by; are the susceptibilities all equal?"
        )
    floor = SIGMA_FLOOR * float(np.median(positive, overwrite_input=True))
    del positive
    sigma_N = last_N.astype(np.float64)
    np.maximum(sigma_N, floor, out=sigma_N)
    return LocalScales(sigma_N, floor)


def part_bounds(num_nodes: int, num_parts: int) -> list[tuple[int, int]]:
    """Nearly equal ranges of rows, none empty but the only one."""
    edges = np.linspace(0, num_nodes, min(num_parts, max(num_nodes, 1)) + 1).astype(np.int64)
    return [(int(low), int(high)) for low, high in pairwise(edges)]


def in_parts(task: Callable[[int, int], int], bounds: list[tuple[int, int]]) -> list[int]:
    """Run the parts in parallel, one thread each: compiled code releases the GIL."""
    with ThreadPoolExecutor(len(bounds)) as pool:
        return list(pool.map(lambda part: task(*part), bounds))


def _arrays(neighbours: Neighbours) -> tuple[NDArray[np.int32], Distances]:
    """Plain arrays over maps, which compiled code takes faster."""
    return np.asarray(neighbours.index_Nk), np.asarray(neighbours.distance_Nk)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _first_bad(index_Nk: NDArray[np.int32], distance_Nk: Distances, low: int, high: int) -> int:
    """First invalid row of a part, −1 if none."""
    num_nodes, k = index_Nk.shape
    for x in range(low, high):
        before = 0.0
        for j in range(k):
            y, d = index_Nk[x, j], distance_Nk[x, j]
            if y < 0 or y >= num_nodes or y == x or not (before <= d < np.inf):
                return x
            before = d
    return -1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _exponent(
    index_Nk: NDArray[np.int32],
    distance_Nk: Distances,
    sigma_N: NDArray[np.float64],
    x: int,
    j: int,
) -> tuple[float, bool]:
    """d² / (σ_x σ_y) of the edge to the j-th neighbour of x, and whether y lists x as well."""
    y = index_Nk[x, j]
    d = np.float64(distance_Nk[x, j])
    # Most lookups find nothing: a count without an exit is vectorised.
    times = 0
    for i in range(index_Nk.shape[1]):
        times += index_Nk[y, i] == x
    if times > 0:
        for i in range(index_Nk.shape[1]):
            if index_Nk[y, i] == x:
                d = min(d, np.float64(distance_Nk[y, i]))
    return d * d / (sigma_N[x] * sigma_N[y]), times > 0


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _count(
    index_Nk: NDArray[np.int32],
    distance_Nk: Distances,
    sigma_N: NDArray[np.float64],
    low: int,
    high: int,
    indptr: NDArray[np.int64],
) -> int:
    """indptr[y + 1] = entries of row y, for a part; returns twice its mutual edges."""
    num_nodes, k = index_Nk.shape
    counts = np.zeros(high - low, np.int32)
    num_mutual = 0
    for x in range(num_nodes):
        for j in range(k):
            y = index_Nk[x, j]
            if low <= y < high:
                d = np.float64(distance_Nk[x, j])
                # y's distance can only be less: looked up only if it decides.
                near = d * d / (sigma_N[x] * sigma_N[y]) <= MAX_EXPONENT
                if near or _exponent(index_Nk, distance_Nk, sigma_N, x, j)[0] <= MAX_EXPONENT:
                    counts[y - low] += 1
    for y in range(low, high):
        for j in range(k):
            exponent, mutual = _exponent(index_Nk, distance_Nk, sigma_N, y, j)
            if exponent <= MAX_EXPONENT:
                if mutual:
                    num_mutual += 1
                else:
                    counts[y - low] += 1
        indptr[y + 1] = counts[y - low]
    return num_mutual


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _accumulate(indptr: NDArray[np.int64]) -> int:
    indptr[0] = 0
    for row in range(1, indptr.size):
        indptr[row] += indptr[row - 1]
    return int(indptr[-1])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fill(
    index_Nk: NDArray[np.int32],
    distance_Nk: Distances,
    sigma_N: NDArray[np.float64],
    low: int,
    high: int,
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float32],
    degrees: NDArray[np.float64],
) -> int:
    """Entries and degrees of a part's rows; returns a row that repeats an entry, or −1."""
    num_nodes, k = index_Nk.shape
    counts = np.zeros(high - low, np.int32)
    for x in range(num_nodes):
        for j in range(k):
            y = index_Nk[x, j]
            if low <= y < high:
                exponent, _ = _exponent(index_Nk, distance_Nk, sigma_N, x, j)
                if exponent <= MAX_EXPONENT:
                    entry = indptr[y] + counts[y - low]
                    indices[entry] = x
                    weights[entry] = np.float32(np.exp(-exponent))
                    counts[y - low] += 1
    own_index, own_weight = np.empty(k, np.int32), np.empty(k, np.float32)
    repeated = -1
    for y in range(low, high):
        num_own = 0
        for j in range(k):
            exponent, mutual = _exponent(index_Nk, distance_Nk, sigma_N, y, j)
            if exponent <= MAX_EXPONENT and not mutual:
                _insert(own_index, own_weight, num_own, index_Nk[y, j], np.exp(-exponent))
                num_own += 1
        row = slice(indptr[y], indptr[y + 1])
        _merge(indices[row], weights[row], counts[y - low], own_index, own_weight, num_own)
        total, before = 0.0, -1
        for entry in range(indptr[y], indptr[y + 1]):
            total += weights[entry]
            if indices[entry] <= before:
                repeated = y
            before = indices[entry]
        degrees[y] = total
    return repeated


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _insert(
    index: NDArray[np.int32], weight: NDArray[np.float32], size: int, new: int, w: float
) -> None:
    """Insert into `size` ascending entries."""
    at = size
    while at > 0 and index[at - 1] > new:
        index[at], weight[at] = index[at - 1], weight[at - 1]
        at -= 1
    index[at], weight[at] = new, np.float32(w)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _merge(
    indices: NDArray[np.int32],
    weights: NDArray[np.float32],
    num_there: int,
    own_index: NDArray[np.int32],
    own_weight: NDArray[np.float32],
    num_own: int,
) -> None:
    """Merge ascending entries into a row's ascending ones, from the end."""
    there, own = num_there - 1, num_own - 1
    for at in range(num_there + num_own - 1, -1, -1):
        if own < 0:
            break
        if there >= 0 and indices[there] > own_index[own]:
            indices[at], weights[at] = indices[there], weights[there]
            there -= 1
        else:
            indices[at], weights[at] = own_index[own], own_weight[own]
            own -= 1
