"""Compiled loops that center or project rows; float64 within, rounded once.

Shapes: R rows of a chunk, K columns kept, D dimensions of the result.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def centre(columns_RK: Float64, out_RK: Float32) -> None:
    """Each row less its mean, summed from left to right."""
    num_rows, num_columns = columns_RK.shape
    for row in range(num_rows):
        total = 0.0
        for column in range(num_columns):
            total += columns_RK[row, column]
        mean = total / num_columns
        for column in range(num_columns):
            out_RK[row, column] = np.float32(columns_RK[row, column] - mean)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def project(columns_RK: Float64, projection_KD: Float64, out_RD: Float32) -> None:
    """columns @ projection, each entry summed over K from the first to the last.

    A library's product orders its sums by the processor, the threads and the number of rows.
    """
    num_rows, num_columns = columns_RK.shape
    num_dimensions = projection_KD.shape[1]
    whole = num_columns - num_columns % 4
    sums = np.empty(num_dimensions, np.float64)
    for row in range(num_rows):
        sums[:] = 0.0
        for k in range(0, whole, 4):
            x0, x1 = columns_RK[row, k], columns_RK[row, k + 1]
            x2, x3 = columns_RK[row, k + 2], columns_RK[row, k + 3]
            for d in range(num_dimensions):
                partial = sums[d] + x0 * projection_KD[k, d]
                partial = partial + x1 * projection_KD[k + 1, d]
                partial = partial + x2 * projection_KD[k + 2, d]
                sums[d] = partial + x3 * projection_KD[k + 3, d]
        for k in range(whole, num_columns):
            for d in range(num_dimensions):
                sums[d] += columns_RK[row, k] * projection_KD[k, d]
        for d in range(num_dimensions):
            out_RD[row, d] = np.float32(sums[d])
