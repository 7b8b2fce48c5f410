"""The sweep: of all prefixes of nodes by p(u) / degree(u), the one of least conductance."""

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
) -> tuple[int, NDArray[np.float64]]:
    """Conductance of every prefix of `ordered` whose volume is at most `max_volume`.

    cut(S + v) = cut(S) + degree(v) − w(v, v) − 2 w(v, S), with degrees of the whole graph, so
    that edges to removed nodes count as cut. Conductance is cut / min(vol S, total − vol S), and
    1 where either side has no volume (the whole graph is no cluster of it).
    `inside` must be zero and is left zero. Returns (size of the best prefix, conductances);
    the smallest of equally good prefixes; 0 when none fits.
    """
    conductance = np.ones(ordered.size, np.float64)
    volume, cut, best, num_swept = 0.0, 0.0, 0, 0
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
        cut += degrees[node] - 2.0 * within
        smaller = min(volume, total_volume - volume)
        # Rounding leaves the cut of a whole component a hair off zero.
        if smaller > 1e-9 * total_volume:
            conductance[position] = max(cut, 0.0) / smaller
        if best == 0 or conductance[position] < conductance[best - 1]:
            best = num_swept
    for position in range(num_swept):
        inside[ordered[position]] = 0
    return best, conductance[:num_swept]
