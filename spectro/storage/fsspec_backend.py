"""Google's and Azure's object storage by fsspec (gcsfs, adlfs), which retries itself.

A put asks for an exclusive create (`mode="create"`). Not every filesystem honours it:
`Store.check_fence` tests it. `locations.REMOTE_SCHEMES` are those that do.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import fsspec

from spectro.storage.backend import Entry, OtherVersionError, VersionPin

TIMES = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
"""Names that filesystems give to an object's time."""


def open_filesystem(uri: str) -> tuple[Any, str]:
    """Filesystem and path of a URI; raises ValueError if there is none."""
    try:
        filesystem, root = fsspec.core.url_to_fs(uri)
    except (ValueError, ImportError) as error:
        raise ValueError(f"run.uri {uri!r} cannot be opened: {error}") from error
    return filesystem, str(root)


class FsspecBackend:
    """Objects of one fsspec filesystem."""

    def __init__(self, filesystem: Any) -> None:
        self._fs = filesystem

    def create(self, path: str, data: bytes) -> None:
        """As exclusively as the filesystem can; raises FileExistsError."""
        if self._fs.exists(path):
            raise FileExistsError(path)
        self._fs.pipe_file(path, data, mode="create")

    def read(self, path: str) -> bytes:
        """All bytes; raises FileNotFoundError."""
        return bytes(self._fs.cat_file(path))

    def read_range(self, path: str, start: int, stop: int, pin: VersionPin) -> bytes:
        """Some bytes, of whatever version; raises FileNotFoundError, OtherVersionError."""
        found = bytes(self._fs.cat_file(path, start=start, end=stop))
        if len(found) != stop - start:
            raise OtherVersionError(f"it has no bytes {start} to {stop}")
        return found

    def exists(self, path: str) -> bool:
        """Whether the object exists."""
        self._fs.invalidate_cache()
        return bool(self._fs.exists(path))

    def entries(self, folder: str) -> dict[str, Entry]:
        """Every object below a folder."""
        self._fs.invalidate_cache()
        found = self._fs.find(folder, detail=True)
        return {path: _entry(info) for path, info in found.items()}

    def delete(self, paths: Collection[str]) -> None:
        """Remove objects; missing ones are no error."""
        for path in paths:
            try:
                self._fs.rm_file(path)
            except FileNotFoundError:
                continue

    def sweep(self, folder: str, older_than_seconds: float) -> int:
        """Nothing: unfinished writes are left to the filesystem."""
        return 0


def _entry(info: dict[str, Any]) -> Entry:
    stamp = next((info[key] for key in TIMES if info.get(key) is not None), None)
    if isinstance(stamp, str):
        stamp = datetime.fromisoformat(stamp)
    if isinstance(stamp, datetime):
        stamp = (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()
    return Entry(size_bytes=info["size"], modified=time.time() if stamp is None else float(stamp))
