"""Objects under one root: put once, read, list.

An object is serialised first and put whole; it is never renamed, appended to or overwritten
(design §5). On a local disk the commit is a hard link, which fails if the name is taken, so of
two writers exactly one wins; elsewhere it is fsspec's exclusive create (If-None-Match on S3).
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

TEMPORARY = ".tmp-"
"""Prefix of a local object's name until it is complete; never listed."""


class DamagedObjectError(ValueError):
    """An object's bytes are not those that were put."""


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """What a marker says of an object."""

    size_bytes: int
    """Length."""
    sha256: str
    """Hex digest of the bytes."""

    @classmethod
    def of(cls, data: bytes) -> ObjectInfo:
        """Size and digest of these bytes."""
        return cls(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    def verify(self, data: bytes, name: str) -> None:
        """Raise DamagedObjectError unless the bytes are those described."""
        if ObjectInfo.of(data) != self:
            raise DamagedObjectError(
                f"{name} is damaged: expected {self.size_bytes} bytes with the checksum of its "
                f"marker, found {len(data)} bytes; delete it and its marker to have it made again"
            )


class Store:
    """A tree of objects; names are relative, with forward slashes."""

    def __init__(self, uri: str) -> None:
        if not uri:
            raise ValueError("run.uri is empty: give a folder or a URI such as s3://bucket/run")
        self.uri = uri.rstrip("/") if uri != "/" else uri
        self._fs: Any
        try:
            self._fs, self.root = fsspec.core.url_to_fs(self.uri)
        except (ValueError, ImportError) as error:
            raise ValueError(f"run.uri {uri!r} cannot be opened: {error}") from error
        protocol = self._fs.protocol
        self.is_local = "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    def child(self, name: str) -> Store:
        """The store of a subfolder."""
        return Store(f"{self.uri}/{name}") if name else self

    def path(self, name: str) -> str:
        """Full path of an object."""
        return f"{self.root}/{name}"

    def put(self, name: str, data: bytes) -> None:
        """Write an object that does not exist yet.

        Raises FileExistsError if it does; the object is then left as it is.
        """
        if self.is_local:
            _put_local(Path(self.path(name)), data)
        elif self._fs.exists(self.path(name)):
            raise FileExistsError(f"{self.uri}/{name} exists already")
        else:
            self._fs.pipe_file(self.path(name), data, mode="create")

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Like `put`; False if another writer was first, whose object then stands."""
        try:
            self.put(name, data)
        except FileExistsError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """All bytes of an object; raises FileNotFoundError."""
        try:
            return bytes(self._fs.cat_file(self.path(name)))
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.uri}/{name} does not exist") from None

    def exists(self, name: str) -> bool:
        """Whether an object is there."""
        return bool(self._fs.exists(self.path(name)))

    def list(self, prefix: str = "") -> dict[str, int]:
        """Size in bytes of every object below a folder, by name relative to this store."""
        folder = self.path(prefix) if prefix else self.root
        self._fs.invalidate_cache()
        found = self._fs.find(folder, detail=True)
        sizes = {path[len(self.root) + 1 :]: info["size"] for path, info in found.items()}
        return {n: s for n, s in sorted(sizes.items()) if TEMPORARY not in n}

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        if self.exists(name):
            self._fs.rm_file(self.path(name))


def _put_local(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        raise FileExistsError(f"{path} exists already") from None
    finally:
        temporary.unlink(missing_ok=True)
