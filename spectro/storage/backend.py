"""The protocol of a storage backend: conditional put, reads, listing, deletion."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One object of a listing."""

    size_bytes: int
    modified: float
    """Time of the put by the storage's clock, seconds since the epoch."""


class Backend(Protocol):
    """One kind of storage; paths are full, as in `Store.path`."""

    def create(self, path: str, data: bytes) -> None:
        """Put an object if the name is free (conditional put); raises FileExistsError."""

    def read(self, path: str) -> bytes:
        """All bytes; raises FileNotFoundError."""

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        """Bytes start … stop − 1, start < stop ≤ size; raises FileNotFoundError."""

    def exists(self, path: str) -> bool:
        """Whether the object exists."""

    def entries(self, folder: str) -> dict[str, Entry]:
        """Every object below a folder, by full path; never cached."""

    def delete(self, paths: Collection[str]) -> None:
        """Remove objects; missing ones are no error."""

    def sweep(self, folder: str, older_than_seconds: float) -> int:
        """Remove unfinished writes of dead processes below a folder; returns their number."""
