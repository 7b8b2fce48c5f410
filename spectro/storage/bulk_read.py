"""Large objects: ranges read in parallel into one buffer, hashed in order while others arrive.

Memory: the object, and at most `RANGES_AT_ONCE` ranges that are being read, which are never more
than the object.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

RANGE_BYTES = 64 << 20
"""Size of every range but the last."""
RANGES_AT_ONCE = 4
"""Ranges of one object that are read at a time."""

ReadRange = Callable[[int, int], bytes]
"""(start, stop) → these bytes of the object."""


def read_hashed(read_range: ReadRange, size_bytes: int) -> tuple[memoryview, str]:
    """An object's bytes in one writable buffer, and their SHA-256 in hex.

    Args:
        read_range: retries by itself; its errors end the read. All ranges must be of one version.
        size_bytes: of the object.
    """
    buffer = np.empty(size_bytes, np.uint8).data
    digest = hashlib.sha256()

    def fill(start: int) -> memoryview:
        part = buffer[start : start + RANGE_BYTES]
        part[:] = read_range(start, start + len(part))
        return part

    starts = range(0, size_bytes, RANGE_BYTES)
    if len(starts) == 1:
        digest.update(fill(0))
        return buffer, digest.hexdigest()
    threads = ThreadPoolExecutor(RANGES_AT_ONCE, thread_name_prefix="range")
    try:
        futures: list[Future[memoryview]] = [threads.submit(fill, start) for start in starts]
        for future in futures:
            digest.update(future.result())
    finally:
        threads.shutdown(wait=True, cancel_futures=True)
    return buffer, digest.hexdigest()
