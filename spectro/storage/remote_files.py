"""Files at a URL, by fsspec: text, checkpoints and what `out=` names; S3 by s3fs (ADR 087).

They are other people's: their names may be put anew at any time, so what is read in several
requests is of one version, or an error. Objects of a run are a `Store`'s.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, BinaryIO, cast

import fsspec

from spectro.extras import optional_imports
from spectro.storage.credentials import redact
from spectro.storage.locations import REMOTE_SCHEMES

BLOCK_BYTES = 8 << 20
"""Bytes of a file that is streamed which are asked for at a time."""
VERSION_FIELDS = ("ETag", "etag", "md5", "LastModified", "last_modified", "mtime", "created")
"""What filesystems tell of a file's version, the surest first."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at a URL; `str` is the URL."""

    url: str
    size_bytes: int
    version: str
    """Of the listing; empty where the filesystem tells none."""
    filesystem: Any
    path: str
    """Within the filesystem."""

    def __str__(self) -> str:
        return self.url

    def open(self) -> BinaryIO:
        """A seekable stream; see `opened_url` for errors."""
        with plain_errors(self.url):
            if self.size_bytes <= BLOCK_BYTES:  # one request
                return io.BytesIO(self.filesystem.cat_file(self.path))
            stream = self.filesystem.open(
                self.path, "rb", block_size=BLOCK_BYTES, cache_type="readahead"
            )
        return cast("BinaryIO", stream)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Bytes start … stop − 1 of each range, fetched side by side.

        Raises ValueError if the file is put anew meanwhile.
        """
        starts, stops = [start for start, _ in ranges], [stop for _, stop in ranges]
        with plain_errors(self.url):
            found = self.filesystem.cat_ranges(
                [self.path] * len(ranges), starts, stops, on_error="raise"
            )
            self.require_same()
        sizes = [stop - start for start, stop in ranges]
        if [len(data) for data in found] != sizes:
            raise ValueError(f"{self.url} gave ranges of other lengths than were asked for")
        return [bytes(data) for data in found]

    def copy_to(self, target: str) -> None:
        """Write a copy of this version to a local file."""
        with plain_errors(self.url):
            self.filesystem.get_file(self.path, target)
            self.require_same()
        if os.path.getsize(target) != self.size_bytes:
            raise ValueError(
                f"{self.url}: expected {self.size_bytes} bytes, found {os.path.getsize(target)}"
            )

    def require_same(self) -> None:
        """Raise ValueError if the file was put anew since it was listed."""
        self.filesystem.invalidate_cache()
        info = self.filesystem.info(self.path)
        if (info["size"], version_of(info)) != (self.size_bytes, self.version):
            raise ValueError(f"{self.url} was replaced while it was read: give the command again")


@dataclass(frozen=True)
class RemotePlace:
    """A file, a folder or nothing at a URL."""

    url: str
    filesystem: Any
    path: str

    def files(self) -> dict[str, RemoteFile]:
        """Files by their names below this place; the place itself is ''; empty if nothing is there.

        Raises PermissionError, ValueError, in one line.
        """
        with plain_errors(self.url):
            self.filesystem.invalidate_cache()
            try:
                info = self.filesystem.info(self.path)
            except FileNotFoundError:
                return {}
            if info["type"] != "directory":
                return {"": self._file(self.url, self.path, info)}
            found = self.filesystem.find(self.path, detail=True)
        below = f"{self.path.rstrip('/')}/"
        names = {path.removeprefix(below): path for path in sorted(found)}
        return {
            name: self._file(f"{self.url}/{name}", path, found[path])
            for name, path in names.items()
            if name and not name.endswith("/")  # an empty object for a folder
        }

    def write(self, data: bytes) -> None:
        """Put a file, in the place of one that is there."""
        with plain_errors(self.url):
            parent = self.path.rpartition("/")[0]
            if parent and self.url.partition("://")[0] not in REMOTE_SCHEMES:
                self.filesystem.makedirs(parent, exist_ok=True)  # object stores make buckets
            self.filesystem.pipe_file(self.path, data)

    def _file(self, url: str, path: str, info: dict[str, Any]) -> RemoteFile:
        return RemoteFile(url, int(info["size"]), version_of(info), self.filesystem, path)


def opened_url(url: str) -> RemotePlace:
    """What is at a URL; makes no request.

    Credentials come from the environment. Raises ValueError, in one line, for a protocol that is
    not known or whose library is not installed; everything that is done with it later raises
    FileNotFoundError, PermissionError or ValueError.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "s3":
        from spectro.storage.s3_client import environment_digest  # optional

        return RemotePlace(url, _s3(os.getpid(), environment_digest()), rest)
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        known = str(error).splitlines()[0]
        raise ValueError(f"{redact(url)!r} cannot be opened: {known}") from None
    return RemotePlace(url, filesystem, str(path))


@lru_cache(maxsize=2)
def _s3(process: int, environment: str) -> Any:
    """s3fs with the environment's endpoint, credentials and timeout; one for each environment."""
    with optional_imports():
        import s3fs

        from spectro.storage.s3_client import CONNECT_SECONDS, timeout_seconds

    timeouts = {"read_timeout": timeout_seconds(), "connect_timeout": CONNECT_SECONDS}
    return s3fs.S3FileSystem(
        config_kwargs=timeouts, use_listings_cache=False, skip_instance_cache=True
    )


def version_of(info: dict[str, Any]) -> str:
    """Version of a file by the surest field of the filesystem's information."""
    found = next((info[name] for name in VERSION_FIELDS if info.get(name) is not None), "")
    if isinstance(found, datetime):  # listings may have the same time as a number
        found = found.timestamp()
    return f"{found:.3f}" if isinstance(found, float) else str(found)


@contextmanager
def plain_errors(url: str) -> Iterator[None]:
    """Errors of a filesystem in one line without texts of servers, which may quote keys."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{redact(url)} does not exist") from None
    except Exception as error:
        found = _refusal(error, url)
        if found is None:
            raise
        raise found from None


def _refusal(error: Exception, url: str) -> Exception | None:
    """What to raise for an error of a filesystem; None: an error of ours, or no one's."""
    if url.startswith("s3://"):
        from spectro.storage.s3_errors import ERRORS, as_builtin_error

        for cause in (error, error.__cause__):
            if isinstance(cause, ERRORS):
                found = as_builtin_error(cause, "a request", url.removeprefix("s3://"))
                is_plain = isinstance(found, OSError | ValueError)
                return found if is_plain else OSError(f"{url}: {found}: is the storage up?")
    if isinstance(error, PermissionError):
        return PermissionError(
            f"{redact(url)} was refused: the credentials of the environment, or the bucket's "
            "policy, do not allow it"
        )
    if isinstance(error, OSError):
        reason = (error.strerror or str(error) or type(error).__name__).splitlines()[0]
        return OSError(f"{redact(url)} cannot be read or written: {redact(reason)}")
    return None
