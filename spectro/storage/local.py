"""Objects as files: written under a temporary name, then hard-linked to the final name.

`link` fails if the name exists, so the put is atomic and exclusive across processes and over NFS.
File and folder are synced: after a power cut a marker never precedes the objects that it names.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from spectro.storage.backend import Entry, OtherVersionError, VersionPin

TEMPORARY = ".tmp-"
"""Prefix of a file's name until it is complete; never listed."""
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalBackend:
    """Files below a folder."""

    def create(self, path: str, data: bytes) -> None:
        """Write a file exclusively.

        Raises FileExistsError; ValueError if the filesystem has no hard links.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _link(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(target.parent)

    def read(self, path: str) -> bytes:
        """All bytes; raises FileNotFoundError."""
        return Path(path).read_bytes()

    def read_range(self, path: str, start: int, stop: int, pin: VersionPin) -> bytes:
        """Some bytes; raises FileNotFoundError, OtherVersionError."""
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            pin.require(f"{status.st_ino} {status.st_mtime_ns}", status.st_size)
            file.seek(start)
            found = file.read(stop - start)
        if len(found) != stop - start:
            raise OtherVersionError(f"it has no bytes {start} to {stop}")
        return found

    def exists(self, path: str) -> bool:
        """Whether a file or folder of this name exists."""
        return Path(path).exists()

    def entries(self, folder: str) -> dict[str, Entry]:
        """Every complete file below a folder."""
        found: dict[str, Entry] = {}
        for file in _files(folder):
            if not file.name.startswith(TEMPORARY) and (status := _status(file)):
                found[file.path] = Entry(size_bytes=status.st_size, modified=status.st_mtime)
        return found

    def delete(self, paths: Collection[str]) -> None:
        """Remove files; missing ones are no error."""
        for path in paths:
            Path(path).unlink(missing_ok=True)

    def sweep(self, folder: str, older_than_seconds: float) -> int:
        """Remove temporary files of dead writers."""
        latest = time.time() - older_than_seconds
        old = [
            file.path
            for file in _files(folder)
            if file.name.startswith(TEMPORARY)
            and (status := _status(file))
            and status.st_mtime < latest
        ]
        self.delete(old)
        return len(old)


def _link(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        raise ValueError(
            f"{target}: expected a filesystem with hard links, found none ({error.strerror}): two "
            "writers could not be kept apart there; choose another folder for run.uri"
        ) from None


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    """All files below a folder; a folder removed meanwhile is empty."""
    try:
        inside = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in inside:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        else:
            yield entry


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except FileNotFoundError:  # removed since the listing
        return None
