"""The sweep: prefixes of the nodes by p(u) / degree(u), and which of them is a cluster.

The published rule takes the prefix of least conductance. Conductance falls as a prefix grows,
whether or not there is a cluster (a ball of radius r has a surface that grows more slowly than
its volume), so from most seeds the least of all is the largest prefix looked at: a piece of the
main body. What a cluster has and a piece of body has not is an end: past it conductance rises.
`choose_prefix` therefore asks for a rise within twice the volume (ADR 021).
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spectro.clustering.local.workspace import Local, LocalCsr

NUM_BINS = 1024
"""Of residuals, when the fringe is cut to what a sweep can reach; any number gives the same."""


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def order(
    csr: LocalCsr, local: Local, num_slots: int, epsilon: float, bound: float
) -> tuple[NDArray[np.int32], float, float]:
    """Slots by p / degree; then those that only hold a residual, by r / degree; ties by arrival.

    The second kind is the fringe just outside: where a cluster holds all that was pushed, only
    the fringe can show that conductance rises beyond it. The fringe is tens of times larger than
    what can be swept, so it is cut, before it is sorted, to the largest residuals that fill the
    sweep. That is up to a volume of 2 min(bound, volume of the first kind).
    Returns (slots, largest volume of a candidate, largest volume swept).
    """
    num_support, support_volume = 0, 0.0
    for slot in range(num_slots):
        if local.score[slot] > 0.0:
            num_support += 1
            support_volume += csr.degrees[local.node[slot]]
    max_volume = min(bound, support_volume * (1.0 + 1e-9))
    least = _fringe_threshold(local, num_slots, epsilon, 2.0 * max_volume - support_volume)
    support, fringe = np.empty(num_support, np.int32), np.empty(num_slots - num_support, np.int32)
    score, residual = np.empty(num_support, np.float64), np.empty(fringe.size, np.float64)
    num_support, num_fringe = 0, 0
    for slot in range(num_slots):
        if local.score[slot] > 0.0:
            support[num_support], score[num_support] = slot, -local.score[slot]
            num_support += 1
        elif local.mass[slot, 0] >= least:
            fringe[num_fringe], residual[num_fringe] = slot, -local.mass[slot, 0]
            num_fringe += 1
    ordered = np.empty(num_support + num_fringe, np.int32)
    ordered[:num_support] = support[np.argsort(score, kind="mergesort")]
    by_residual = np.argsort(residual[:num_fringe], kind="mergesort")
    ordered[num_support:] = fringe[:num_fringe][by_residual]
    return ordered, max_volume, 2.0 * max_volume


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fringe_threshold(local: Local, num_slots: int, epsilon: float, volume: float) -> float:
    """A residual such that the fringe with at least that much has more than this volume."""
    if volume < 0.0:
        return np.inf
    bins = np.zeros(NUM_BINS, np.float64)
    for slot in range(num_slots):
        if local.score[slot] == 0.0:
            found = int(min(local.mass[slot, 0] / epsilon, 1.0) * (NUM_BINS - 1))
            bins[found] += 1.0 / local.mass[slot, 1]
    position = NUM_BINS - 1
    while position > 0 and bins[position] <= volume:
        volume -= bins[position]
        position -= 1
    # The bin itself, whole: half a bin lower than its edge, so that rounding cannot lose any.
    return (position - 0.5) / (NUM_BINS - 1) * epsilon


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def sweep(
    csr: LocalCsr,
    local: Local,
    num_slots: int,
    ordered: NDArray[np.int32],
    total_volume: float,
    max_volume: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Conductance and volume of every prefix of `ordered` whose volume is at most `max_volume`.

    cut(S + v) = cut(S) + degree(v) − w(v, v) − 2 w(v, S), with degrees of the whole graph, so
    that edges to removed nodes count as cut. Conductance is cut / min(vol S, total − vol S), and
    1 where either side has no volume (the whole graph is no cluster of it).
    Overwrites mass[:, 0]: 1 for slots inside, ½ for the one that enters (its self loop), else 0.
    """
    inside = local.mass
    inside[:num_slots, 0] = 0.0
    conductance = np.ones(ordered.size, np.float64)
    volumes = np.zeros(ordered.size, np.float64)
    volume, cut, num_swept = 0.0, 0.0, 0
    for position in range(ordered.size):
        slot = ordered[position]
        degree = csr.degrees[local.node[slot]]
        volume += degree
        if volume > max_volume:
            break
        inside[slot, 0] = 0.5
        cut += degree - 2.0 * _weight_within(csr, local, slot)
        inside[slot, 0] = 1.0
        num_swept = position + 1
        volumes[position] = volume
        smaller = min(volume, total_volume - volume)
        # Rounding leaves the cut of a whole component a hair off zero.
        if smaller > 1e-9 * total_volume:
            conductance[position] = cut / smaller if cut > 1e-12 * volume else 0.0
    return conductance[:num_swept], volumes[:num_swept]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _weight_within(csr: LocalCsr, local: Local, slot: int) -> float:
    """Σ w(v, u) · inside(u), from the copied row or, where there is none, from the graph."""
    within = 0.0
    if local.start[slot] >= 0:
        for entry in range(local.start[slot], local.end[slot]):
            within += local.entry_weight[entry] * local.mass[local.entry_slot[entry], 0]
        return within
    node = local.node[slot]
    for entry in range(csr.indptr[node], csr.indptr[node + 1]):
        found = local.slot_of[csr.indices[entry]]
        # Selected, not branched on: whether a neighbour was touched cannot be foretold.
        here = local.mass[max(found, 0), 0]
        within += csr.weights[entry] * (here if found >= 0 else 0.0)
    return within


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def choose_prefix(
    conductance: NDArray[np.float64],
    volumes: NDArray[np.float64],
    total_volume: float,
    min_size: int,
    max_volume: float,
    min_rise: float,
) -> int:
    """Size of the chosen prefix, 0 if none.

    Of the prefixes i of at least `min_size` nodes and at most `max_volume` that end somewhere,

        max { cut_j / vol_j : j > i, vol_j ≤ 2 vol_i } ≥ min_rise · φ_i,

    the one of least conductance φ, the smallest if equal. The rise is of cut / vol: φ_j itself
    rises beyond half of the graph because its denominator is then the rest. A prefix without
    conductance (a whole component) ends by definition. min_rise ≤ 1 asks nothing, as published.
    """
    num_swept = conductance.size
    best = 0
    outflow = np.empty(num_swept, np.float64)
    for position in range(num_swept):
        volume = volumes[position]
        smaller = min(volume, total_volume - volume)
        outflow[position] = conductance[position] * smaller / volume if volume > 0 else 1.0
    # Positions whose outflow is the largest from there to the end of the window, falling.
    peaks = np.empty(num_swept, np.int64)
    first, last, reached = 0, -1, -1
    for position in range(num_swept):
        if volumes[position] > max_volume:
            break
        while reached + 1 < num_swept and volumes[reached + 1] <= 2.0 * volumes[position]:
            reached += 1
            while last >= first and outflow[peaks[last]] <= outflow[reached]:
                last -= 1
            last += 1
            peaks[last] = reached
        while first <= last and peaks[first] <= position:
            first += 1
        here = conductance[position]
        peak = outflow[peaks[first]] if first <= last else 0.0
        if min_rise > 1.0 and (position + 1 < min_size or (peak < min_rise * here and here > 0.0)):
            continue
        if best == 0 or here < conductance[best - 1]:
            best = position + 1
    return best
