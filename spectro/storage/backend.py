"""The protocol of a storage backend: conditional put, reads, listing, deletion."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One object of a listing."""

    size_bytes: int
    modified: float
    """Time of the put by the storage's clock, seconds since the epoch."""


class OtherVersionError(Exception):
    """The object is not the one that a read began with, or shorter than expected."""


class VersionPin:
    """The version and size that all ranges of one read must have; thread-safe."""

    def __init__(self, size_bytes: int | None = None) -> None:
        """A pin for an object of a known size, or of any."""
        self._lock = threading.Lock()
        self._size_bytes = size_bytes
        self._version: str | None = None

    def require(self, version: str, size_bytes: int) -> None:
        """Pin the first version; raises OtherVersionError for another size or version."""
        with self._lock:
            if self._size_bytes not in (None, size_bytes):
                raise OtherVersionError(
                    f"expected {self._size_bytes} bytes, found {size_bytes} bytes"
                )
            if self._version not in (None, version):
                raise OtherVersionError("it was replaced while it was read")
            self._version = version


class Backend(Protocol):
    """One kind of storage; paths are full, as in `Store.path`."""

    def create(self, path: str, data: bytes) -> None:
        """Put an object if the name is free (conditional put); raises FileExistsError."""

    def read(self, path: str) -> bytes:
        """All bytes; raises FileNotFoundError."""

    def read_range(self, path: str, start: int, stop: int, pin: VersionPin) -> bytes:
        """Bytes start … stop − 1, start < stop ≤ size, of the version that `pin` has, if any.

        Raises FileNotFoundError, and OtherVersionError if the object is another one or too short.
        """

    def exists(self, path: str) -> bool:
        """Whether the object exists."""

    def entries(self, folder: str) -> dict[str, Entry]:
        """Every object below a folder, by full path; never cached."""

    def delete(self, paths: Collection[str]) -> None:
        """Remove objects; missing ones are no error."""

    def sweep(self, folder: str, older_than_seconds: float) -> int:
        """Remove unfinished writes of dead processes below a folder; returns their number."""
