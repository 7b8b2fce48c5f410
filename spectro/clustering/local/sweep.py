"""Sweep cut: prefixes of the nodes by p(u) / degree(u), and the choice of the cluster.

The published rule takes the prefix of least conductance. Conductance falls as a prefix grows even
without a cluster, so from most seeds the minimum is the largest prefix: a piece of the main body.
A cluster has an end, past which conductance rises: `choose_prefix` requires a rise within twice the
volume (ADR 021).
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spectro.clustering.local.workspace import LocalArrays, LocalCsr

NUM_BINS = 1024
"""Bins of residuals for cutting the fringe; any number gives the same result."""


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def order(
    csr: LocalCsr, local: LocalArrays, num_slots: int, epsilon: float, bound: float
) -> tuple[NDArray[np.int32], float, float]:
    """Slots by p / degree, then those with only a residual by r / degree; ties by arrival.

    The second kind is the fringe just outside, which shows whether conductance rises beyond a
    cluster that holds all pushed mass. It is cut, before sorting, to the largest residuals that
    fill the sweep: a volume of 2 min(bound, volume of the first kind). Returns (slots, largest
    volume of a proposal, largest volume swept).
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
def _fringe_threshold(local: LocalArrays, num_slots: int, epsilon: float, volume: float) -> float:
    """Residual above which the fringe has more than this volume."""
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
    # The whole bin, half a bin lower, so that rounding loses none.
    return (position - 0.5) / (NUM_BINS - 1) * epsilon


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def sweep(
    csr: LocalCsr,
    local: LocalArrays,
    num_slots: int,
    ordered: NDArray[np.int32],
    total_volume: float,
    max_volume: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Conductance and volume of every prefix of `ordered` up to `max_volume`.

    cut(S + v) = cut(S) + degree(v) − w(v, v) − 2 w(v, S), with degrees of the whole graph, so edges
    to removed nodes count as cut. Conductance is cut / min(vol S, total − vol S), 1 if either is
    empty. Overwrites mass[:, 0]: 1 for slots inside, ½ for the entering one (its self loop), else
    0.
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
        # Rounding leaves the cut of a component slightly off zero.
        if smaller > 1e-9 * total_volume:
            conductance[position] = cut / smaller if cut > 1e-12 * volume else 0.0
    return conductance[:num_swept], volumes[:num_swept]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _weight_within(csr: LocalCsr, local: LocalArrays, slot: int) -> float:
    """Σ w(v, u) · inside(u), from the copied row, else from the graph."""
    within = 0.0
    if local.start[slot] >= 0:
        for entry in range(local.start[slot], local.end[slot]):
            within += local.entry_weight[entry] * local.mass[local.entry_slot[entry], 0]
        return within
    node = local.node[slot]
    for entry in range(csr.indptr[node], csr.indptr[node + 1]):
        found = local.slot_of[csr.indices[entry]]
        # Branch-free: touched neighbours are unpredictable.
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
