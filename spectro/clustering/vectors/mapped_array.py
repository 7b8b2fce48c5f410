"""Arrays in files that are mapped while they are written."""

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

BLOCK_BYTES = 1 << 24
"""Zeros that are written at once."""


def mapped_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A new .npy file, mapped for writing, with its room on the disk reserved.

    Without that a full disk would not raise OSError but kill the process that writes.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    size = path.stat().st_size
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:  # macOS: only bytes that are written have a place
            _write_zeros(file, size - array.nbytes, size)
    return array


def _write_zeros(file: BinaryIO, start: int, stop: int) -> None:
    file.seek(start)
    for begin in range(start, stop, BLOCK_BYTES):
        file.write(bytes(min(BLOCK_BYTES, stop - begin)))
