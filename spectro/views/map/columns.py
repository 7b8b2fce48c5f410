"""Arrays as the map's files hold them: little-endian, a file per column and chunk (ADR 033).

Shapes: n rows, M members of all clusters together, K clusters.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRID = 65_535
"""Positions are whole numbers from 0 to this, y upwards."""
_NAMES = {"u1": "u8", "u2": "u16", "u4": "u32", "i4": "i32", "f4": "f32", "f8": "f64"}


def dtype_name(values: NDArray[Any]) -> str:
    """What map.json calls the type of a column; ValueError for one that pages do not read."""
    code = values.dtype.str[1:]
    if code not in _NAMES:
        raise ValueError(f"the map has columns of {', '.join(_NAMES.values())}, found {code}")
    return _NAMES[code]


def data_of(values: NDArray[Any]) -> bytes:
    """The bytes of a column or a chunk of one, row by row."""
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()


def array_of(data: bytes, name: str) -> NDArray[Any]:
    """A column again, by what map.json calls its type; ValueError for one that no map has."""
    codes = {name: code for code, name in _NAMES.items()}
    if name not in codes:
        raise ValueError(f"the map has columns of {', '.join(codes)}, found {name}")
    dtype = np.dtype(f"<{codes[name]}")
    return np.frombuffer(data, dtype) if data else np.empty(0, dtype)


def parts(num_rows: int, rows_per_file: int) -> Iterator[tuple[int, slice]]:
    """Number and rows of every file of a column."""
    for number, start in enumerate(range(0, num_rows, rows_per_file)):
        yield number, slice(start, min(start + rows_per_file, num_rows))


def narrow(largest: int) -> np.dtype[Any]:
    """The narrowest unsigned type that holds numbers up to this."""
    return np.min_scalar_type(max(largest, 0))


def on_grid(xy_n2: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Positions of the unit square as whole numbers of the grid, [n, 2]."""
    return np.asarray(np.rint(np.clip(xy_n2, 0.0, 1.0) * GRID), np.uint16)


def first_of_each(
    values_M: NDArray[Any], cluster_M: NDArray[np.integer], shape: tuple[int, int], fill: float
) -> NDArray[Any]:
    """The first entries of every cluster's own, [K, width]; `fill` beyond the last.

    `cluster_M` ascends; `shape` is (K, width).
    """
    place_M = np.arange(cluster_M.size) - np.searchsorted(cluster_M, cluster_M)
    kept_M = place_M < shape[1]
    table = np.full(shape, fill, values_M.dtype)
    table[cluster_M[kept_M], place_M[kept_M]] = values_M[kept_M]
    return table
