"""A file-like reader over one object that fetches only the byte ranges that are read."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass, field
from typing import Any

from spectro.storage.store import MissingObjectError, Store


@dataclass
class Meter:
    """Counts bytes and requests; several readers may share one."""

    num_bytes: int = 0
    num_reads: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, num_bytes: int) -> None:
        """Count one request."""
        with self._lock:
            self.num_bytes += num_bytes
            self.num_reads += 1


class RangeReader(io.RawIOBase):
    """A readable, seekable file over one object; every read is one range request."""

    def __init__(self, store: Store, name: str, size_bytes: int, meter: Meter) -> None:
        """Make no request yet.

        Args:
            size_bytes: length of the object in a listing; 0 where the listing lacks it, which
                raises MissingObjectError.
            meter: counts every read.
        """
        if size_bytes == 0:
            raise MissingObjectError(f"{store.uri}/{name} does not exist")
        super().__init__()
        self._store, self._name, self._size, self._meter = store, name, size_bytes, meter
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As `io.IOBase.seek`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes, by default all that are left; b"" at the end."""
        left = max(0, self._size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted == 0:
            return b""
        data = self._store.read_range(self._name, self._position, self._position + wanted)
        self._meter.add(len(data))
        self._position += len(data)
        return data

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer; returns the number of bytes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)
