"""Memory-mapped .npy files for writing."""

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

BLOCK_BYTES = 1 << 24


def mapped_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A new .npy file, mapped for writing, with disk space reserved.

    Otherwise a full disk would kill the writing process instead of raising OSError.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    size = path.stat().st_size
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:  # macOS: only written bytes reserve space
            _write_zeros(file, size - array.nbytes, size)
    return array


def _write_zeros(file: BinaryIO, start: int, stop: int) -> None:
    file.seek(start)
    for begin in range(start, stop, BLOCK_BYTES):
        file.write(bytes(min(BLOCK_BYTES, stop - begin)))
