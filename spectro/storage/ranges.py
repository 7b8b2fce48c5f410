"""An object as a file of which only the parts that are asked for are read."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass, field
from typing import Any

from spectro.storage.store import MissingObjectError, Store


@dataclass
class Meter:
    """What was read; several readers may share one."""

    num_bytes: int = 0
    """Bytes."""
    num_reads: int = 0
    """Requests."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, num_bytes: int) -> None:
        """Count a request."""
        with self._lock:
            self.num_bytes += num_bytes
            self.num_reads += 1


class RangeReader(io.RawIOBase):
    """A readable, seekable file over one object; every read is one request for a range."""

    def __init__(self, store: Store, name: str, size_bytes: int, meter: Meter) -> None:
        """Nothing is asked of the storage yet.

        Args:
            store: that holds the object.
            name: of the object.
            size_bytes: its length, as a listing has it; 0 where the listing has no such object.
            meter: told of every read.

        Raises MissingObjectError where there is no such object.
        """
        if size_bytes == 0:
            raise MissingObjectError(f"{store.uri}/{name} does not exist")
        super().__init__()
        self._store, self._name, self._size, self._meter = store, name, size_bytes, meter
        self._place = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; see `io.IOBase.seek`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes, all that are left by default; b"" at the end."""
        left = max(0, self._size - self._place)
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted == 0:
            return b""
        data = self._store.read_range(self._name, self._place, self._place + wanted)
        self._meter.add(len(data))
        self._place += len(data)
        return data

    def readall(self) -> bytes:
        """All that are left."""
        return self.read(-1)

    def readinto(self, buffer: Any, /) -> int:
        """Into a buffer; how many bytes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)
