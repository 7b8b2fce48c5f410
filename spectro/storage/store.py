"""Object store: conditional put, read, list, delete.

An object is put whole and never renamed, appended to or overwritten. Every put is exclusive, so of
two writers exactly one wins: by a hard link on a local disk (`local.py`), `If-None-Match: *` on S3
(`s3.py`), the filesystem's exclusive create elsewhere (`fsspec_backend.py`). `Store.check_fence`
tests that the storage really refuses a second put.

Errors of all backends: FileExistsError, FileNotFoundError, PermissionError, ValueError for a wrong
URI, StorageUnavailableError after the last retry.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from spectro.extras import optional_imports
from spectro.storage.backend import Backend, Entry, OtherVersionError, VersionPin
from spectro.storage.bulk_read import read_hashed
from spectro.storage.local import LocalBackend
from spectro.storage.locations import is_uri, resolve_location

FENCE = "fence-"
"""First part of the names of probe objects (`Store.check_fence`)."""
CONCURRENT_READS = 16
"""Objects that `read_many` fetches at a time."""


class DamagedObjectError(ValueError):
    """The bytes of an object differ from its checksum."""


class MissingObjectError(FileNotFoundError):
    """An object of a run does not exist."""


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """Size and checksum of an object, as its marker records them."""

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> ObjectInfo:
        return cls(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    def verify(self, data: bytes, name: str) -> None:
        """Raise DamagedObjectError unless the bytes are those described."""
        self.require(ObjectInfo.of(data), name)

    def require(self, found: ObjectInfo, name: str) -> None:
        """Raise DamagedObjectError unless an object is the one described."""
        if found != self:
            raise DamagedObjectError(
                f"{name} is damaged: expected {self.size_bytes} bytes with the checksum of its "
                f"marker, found {found.size_bytes} bytes; delete it and its marker to have it made "
                "again"
            )


class Store:
    """A tree of objects; names are relative, with forward slashes. Pickles as its URI."""

    def __init__(self, uri: str) -> None:
        """Open a local path, `s3://bucket/prefix` or another URI; makes no request.

        Endpoint, region and credentials come from the environment (AWS_ENDPOINT_URL, AWS_PROFILE,
        …). Raises ValueError for a URI of no known kind.
        """
        self.uri = resolve_location(uri)
        self._backend: Backend
        self._backend, self.root, self.is_local = _opened(self.uri)

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.uri,)

    def child(self, name: str) -> Store:
        """The store of a subfolder."""
        return Store(f"{self.uri}/{name}") if name else self

    def above(self) -> Store:
        """The store of the parent folder; that of a bucket or of `/` is itself."""
        scheme, slashes, rest = self.uri.rpartition("://")
        folder, slash, _ = rest.rpartition("/")
        if slashes and not slash:
            return self
        return Store(f"{scheme}{slashes}{folder}" or "/")

    def path(self, name: str) -> str:
        """Full path of an object."""
        return f"{self.root}/{name}"

    def put(self, name: str, data: bytes) -> None:
        """Write a new object; raises FileExistsError and keeps the existing one."""
        try:
            self._backend.create(self.path(name), data)
        except FileExistsError:
            raise FileExistsError(f"{self.uri}/{name} exists already") from None

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Like `put`; False if the object exists already."""
        try:
            self.put(name, data)
        except FileExistsError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """All bytes of an object; raises MissingObjectError."""
        try:
            return self._backend.read(self.path(name))
        except (FileNotFoundError, OtherVersionError) as error:
            raise self._unreadable(name, error) from None

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Bytes start … stop − 1 of an object, without a checksum.

        Raises MissingObjectError, DamagedObjectError if it is shorter.
        """
        return self._range(name, start, stop, VersionPin())

    def read_hashed(self, name: str, size_bytes: int) -> tuple[memoryview, ObjectInfo]:
        """All bytes of an object of known size, and what they are, by parallel ranges.

        The bytes are in one writable buffer, for arrays to share (`bulk_read.py`). Raises
        MissingObjectError, DamagedObjectError for one that is shorter or replaced meanwhile.
        """
        pin = VersionPin(size_bytes)
        data, sha256 = read_hashed(
            lambda start, stop: self._range(name, start, stop, pin), size_bytes
        )
        return data, ObjectInfo(size_bytes=len(data), sha256=sha256)

    def _range(self, name: str, start: int, stop: int, pin: VersionPin) -> bytes:
        try:
            return self._backend.read_range(self.path(name), start, stop, pin)
        except (FileNotFoundError, OtherVersionError) as error:
            raise self._unreadable(name, error) from None

    def _unreadable(self, name: str, error: Exception) -> Exception:
        place = f"{self.uri}/{name}"
        if isinstance(error, FileNotFoundError):
            return MissingObjectError(f"{place} does not exist")
        return DamagedObjectError(
            f"{place} is damaged: {error}; delete it and its marker to have it made again"
        )

    def read_many(
        self, names: Iterable[str], *, missing_ok: bool = False
    ) -> Iterator[tuple[str, bytes]]:
        """(name, bytes) of small objects in the given order, `CONCURRENT_READS` at a time.

        With `missing_ok` absent objects are left out; otherwise they raise MissingObjectError.
        """
        with ThreadPoolExecutor(CONCURRENT_READS, thread_name_prefix="reader") as threads:
            pending: deque[tuple[str, Future[bytes]]] = deque()
            rest = iter(names)
            try:
                while True:
                    while (
                        len(pending) < CONCURRENT_READS and (name := next(rest, None)) is not None
                    ):
                        pending.append((name, threads.submit(self.read, name)))
                    if not pending:
                        return
                    name, future = pending.popleft()
                    try:
                        data = future.result()
                    except FileNotFoundError:
                        if not missing_ok:
                            raise
                        continue
                    yield name, data
            finally:
                threads.shutdown(wait=False, cancel_futures=True)

    def exists(self, name: str) -> bool:
        """Whether an object exists."""
        return self._backend.exists(self.path(name))

    def entries(self, prefix: str = "") -> dict[str, Entry]:
        """Every object below a folder, by name relative to this store, sorted; never cached."""
        found = self._backend.entries(self.path(prefix) if prefix else self.root)
        start = len(self.root) + 1
        return {path[start:]: found[path] for path in sorted(found)}

    def list(self, prefix: str = "") -> dict[str, int]:
        """Size in bytes of every object below a folder, by name relative to this store."""
        return {name: entry.size_bytes for name, entry in self.entries(prefix).items()}

    def delete(self, name: str) -> None:
        """Remove an object; a missing one is no error."""
        self.delete_many([name])

    def delete_many(self, names: Collection[str]) -> None:
        """Remove objects in as few requests as possible; missing ones are no error."""
        self._backend.delete([self.path(name) for name in names])

    def sweep(self, older_than_seconds: float) -> int:
        """Remove temporary files and multipart uploads older than this; returns their number.

        They are never listed or read. A live writer loses one that is that old.
        """
        return self._backend.sweep(self.root, older_than_seconds)

    def check_fence(self) -> None:
        """Put a probe object twice; raises ValueError unless the second put is refused.

        Some S3 servers ignore `If-None-Match`, and some filesystems have no exclusive create.
        """
        name = f"{FENCE}{secrets.token_hex(8)}"
        try:
            self.put(name, b"first")
            refused = not self.put_if_absent(name, b"second")
            intact = self.read(name) == b"first"
        finally:
            self.delete(name)
        if not (refused and intact):
            raise ValueError(
                f"{self.uri}: expected the second of two writers of one object to be refused, it "
                "was not: this storage has no exclusive create (on S3: conditional PUT)"
            )


def _opened(uri: str) -> tuple[Backend, str, bool]:
    """Backend, path of the root, and whether it is a local disk."""
    if not is_uri(uri):
        return LocalBackend(), uri, True
    if uri.startswith("s3://"):
        with optional_imports():
            from spectro.storage.s3 import S3Backend  # botocore is optional

        root = uri.removeprefix("s3://")
        if not root or root.startswith("/") or "@" in root.partition("/")[0]:
            raise ValueError(
                "run.uri: expected s3://bucket/prefix, found one without a bucket, or with "
                "credentials in it: those belong into the environment"
            )
        return S3Backend(), root, False
    from spectro.storage.fsspec_backend import FsspecBackend, open_filesystem  # optional

    filesystem, root = open_filesystem(uri)
    return FsspecBackend(filesystem), root, False
