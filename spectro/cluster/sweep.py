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


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def sweep(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float32],
    degrees: NDArray[np.float64],
    total_volume: float,
    max_volume: float,
    ordered: NDArray[np.int32],
    inside: NDArray[np.uint8],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Conductance and volume of every prefix of `ordered` whose volume is at most `max_volume`.

    cut(S + v) = cut(S) + degree(v) − w(v, v) − 2 w(v, S), with degrees of the whole graph, so
    that edges to removed nodes count as cut. Conductance is cut / min(vol S, total − vol S), and
    1 where either side has no volume (the whole graph is no cluster of it).
    `inside` must be zero and is left zero.
    """
    conductance = np.ones(ordered.size, np.float64)
    volumes = np.zeros(ordered.size, np.float64)
    volume, cut, num_swept = 0.0, 0.0, 0
    for position in range(ordered.size):
        node = ordered[position]
        volume += degrees[node]
        if volume > max_volume:
            break
        within = 0.0
        for entry in range(indptr[node], indptr[node + 1]):
            if indices[entry] == node:
                within += 0.5 * weights[entry]
            elif inside[indices[entry]]:
                within += weights[entry]
        inside[node] = 1
        num_swept = position + 1
        volumes[position] = volume
        cut += degrees[node] - 2.0 * within
        smaller = min(volume, total_volume - volume)
        # Rounding leaves the cut of a whole component a hair off zero.
        if smaller > 1e-9 * total_volume:
            conductance[position] = max(cut, 0.0) / smaller
    for position in range(num_swept):
        inside[ordered[position]] = 0
    return conductance[:num_swept], volumes[:num_swept]


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
