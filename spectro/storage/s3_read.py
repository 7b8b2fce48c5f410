"""Reads of S3 that survive broken connections: the next attempt asks for what is missing."""

from __future__ import annotations

import io
from typing import Any

from botocore.exceptions import ChecksumError, FlexibleChecksumError

from spectro.storage.backend import OtherVersionError, VersionPin
from spectro.storage.retry import Arrivals, TransientError
from spectro.storage.s3_client import bucket_and_key, client

CHUNK_BYTES = 256 << 10
"""Bytes that are waited for at a time; a chunk is what `Arrivals` notes."""


class S3Read:
    """One read of an object or a range, attempted until it is whole.

    Only bytes of one version (ETag) are joined. A whole object that is replaced meanwhile is read
    anew; a range of it raises OtherVersionError.
    """

    def __init__(self, path: str, pin: VersionPin, start: int = 0, stop: int | None = None) -> None:
        """Bytes start … stop − 1; without `stop` the whole object."""
        self.arrivals = Arrivals()
        self._path, self._pin, self._start, self._stop = path, pin, start, stop
        self._is_range = stop is not None
        self._data = io.BytesIO()

    def attempt(self) -> bytes:
        """All bytes; raises TransientError and errors of the client."""
        try:
            body = self._missing()
            while chunk := body.read(CHUNK_BYTES):
                self._data.write(chunk)
                self.arrivals.note(self._data.tell())
        except (ChecksumError, FlexibleChecksumError):
            self._restart()
            raise
        except OtherVersionError as error:
            if self._is_range:
                raise
            self._restart()
            raise TransientError(str(error)) from None
        return self._data.getvalue()

    def _restart(self) -> None:
        self._data = io.BytesIO()
        if not self._is_range:
            self._pin, self._stop = VersionPin(), None

    def _missing(self) -> Any:
        """The body of an answer with the bytes that are missing."""
        first = self._start + self._data.tell()
        if first == self._stop:  # only the end of the body was lost
            return io.BytesIO()
        if self._stop is None:
            answer = client().get_object(**bucket_and_key(self._path))
            self._stop = answer["ContentLength"]
            self._pin.require(answer.get("ETag", ""), answer["ContentLength"])
            return answer["Body"]
        wanted = f"bytes {first}-{self._stop - 1}"
        answer = client().get_object(**bucket_and_key(self._path), Range=wanted.replace(" ", "="))
        found, _, size = answer.get("ContentRange", "").partition("/")
        if size.isdecimal():
            self._pin.require(answer.get("ETag", ""), int(size))
            if int(size) < self._stop:
                raise OtherVersionError(f"it has {size} bytes, expected at least {self._stop}")
        if found != wanted or answer["ContentLength"] != self._stop - first:
            raise TransientError(f"{found or 'the whole object'} instead of {wanted}")
        return answer["Body"]
