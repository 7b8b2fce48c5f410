"""S3 backend: conditional PUT, multipart uploads, retries (ADR 046).

Every put is conditional (`If-None-Match: *`). A refusal may come from an earlier attempt of the
same call whose answer was lost, so every writer puts a random nonce into the object's metadata and
recognises it. The client's own retries are off: only this module knows what a refused second
attempt means. A process has at most `MAX_WRITES` write requests in flight.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from spectro.storage.backend import Entry, VersionPin
from spectro.storage.content_types import content_type
from spectro.storage.retry import (
    Arrivals,
    RetryPolicy,
    StorageUnavailableError,
    call_with_retries,
)
from spectro.storage.s3_client import bucket_and_key, client
from spectro.storage.s3_errors import (
    ERRORS,
    AbsentError,
    TakenError,
    as_builtin_error,
    error_of_code,
)
from spectro.storage.s3_read import S3Read

T = TypeVar("T")
RETRY_POLICY = RetryPolicy()
NO_RETRY = RetryPolicy(total_seconds=0)
ROUNDS = 3
"""Attempts at a conditional PUT that fails while the object is absent."""
WHOLE_BYTES = 4 << 30
"""Up to this size an object is one PUT (the protocol allows 5 GiB): one server that was measured
lets several multipart uploads of one name succeed. Name longer objects by their content."""
PART_BYTES = 64 << 20
"""Size of every part but the last of a multipart upload (some servers refuse uneven parts)."""
MAX_WRITES = 8
"""Write requests of one process in flight."""
PARTS_AT_ONCE = 4
"""Parts of one upload in flight, each a copy in memory."""
DELETED_AT_ONCE = 1000
"""Keys of one bulk delete."""
NONCE = "spectro-writer"
"""Metadata key of the random nonce of the call that put an object."""
_writers = threading.BoundedSemaphore(MAX_WRITES)


class S3Backend:
    """Objects of S3; paths are `bucket/key`."""

    def create(self, path: str, data: bytes) -> None:
        """Conditional put; beyond `WHOLE_BYTES` a multipart upload.

        Raises FileExistsError if another writer was first, StorageUnavailableError.
        """
        nonce = secrets.token_hex(16)
        for _ in range(ROUNDS):
            try:
                return self._create(path, data, nonce)
            except TakenError:
                try:
                    ours = self._is_ours(path, data, nonce)
                except FileNotFoundError:  # removed since
                    continue
                if not ours:
                    raise FileExistsError(path) from None
                return None
        raise StorageUnavailableError(
            f"PUT s3://{path}: conditional PUT failed {ROUNDS} times but the object is absent: is "
            "another process deleting it?"
        )

    def read(self, path: str) -> bytes:
        """All bytes, checked against the announced length and, if read at once, checksum."""
        return self._read(S3Read(path, VersionPin()), path)

    def read_range(self, path: str, start: int, stop: int, pin: VersionPin) -> bytes:
        """Bytes start … stop − 1, checked for place, number and version (ETag)."""
        return self._read(S3Read(path, pin, start, stop), path)

    def _read(self, reading: S3Read, path: str) -> bytes:
        return _request(reading.attempt, "GET", path, arrivals=reading.arrivals)

    def exists(self, path: str) -> bool:
        """Whether the object exists."""
        try:
            self._head(path)
        except FileNotFoundError:
            return False
        return True

    def entries(self, folder: str) -> dict[str, Entry]:
        """Every object below a folder, page by page."""
        bucket, _, key = folder.partition("/")
        found: dict[str, Entry] = {}
        for page in _pages(
            "list_objects_v2", folder, {"ContinuationToken": "NextContinuationToken"}
        ):
            for item in page.get("Contents", ()):
                if item["Key"] != f"{key}/":  # some consoles put an empty object for a folder
                    found[f"{bucket}/{item['Key']}"] = Entry(
                        size_bytes=item["Size"], modified=item["LastModified"].timestamp()
                    )
        return found

    def delete(self, paths: Collection[str]) -> None:
        """Bulk delete."""
        ordered = sorted(paths)
        for start in range(0, len(ordered), DELETED_AT_ONCE):
            self._delete_batch(ordered[start : start + DELETED_AT_ONCE])

    def sweep(self, folder: str, older_than_seconds: float) -> int:
        """Abort multipart uploads that began so long ago and never completed."""
        latest = datetime.now(UTC) - timedelta(seconds=older_than_seconds)
        bucket = folder.partition("/")[0]
        follow = {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"}
        old = [
            (f"{bucket}/{upload['Key']}", upload["UploadId"])
            for page in _pages("list_multipart_uploads", folder, follow)
            for upload in page.get("Uploads", ())
            if upload["Initiated"] < latest
        ]
        for path, upload in old:
            self._abort(path, upload)
        return len(old)

    def _create(self, path: str, data: bytes, nonce: str) -> None:
        if len(data) > WHOLE_BYTES:
            return self._create_in_parts(path, data, nonce)
        self._write("put_object", path, Body=data, IfNoneMatch="*", **_put_headers(path, nonce))

    def _create_in_parts(self, path: str, data: bytes, nonce: str) -> None:
        if self.exists(path):  # before all parts are sent in vain
            raise TakenError(path)
        begun = self._write("create_multipart_upload", path, **_put_headers(path, nonce))
        upload = begun["UploadId"]
        try:
            parts = self._put_parts(path, memoryview(data), upload)
            self._write(
                "complete_multipart_upload",
                path,
                UploadId=upload,
                IfNoneMatch="*",
                MultipartUpload={"Parts": parts},
            )
        except AbsentError:  # an earlier attempt has completed the upload
            raise TakenError(path) from None
        except BaseException:
            with suppress(Exception):  # what matters is what is being raised
                self._abort(path, upload, NO_RETRY)
            raise

    def _put_parts(self, path: str, data: memoryview, upload: str) -> list[dict[str, Any]]:
        def put(number: int) -> dict[str, Any]:
            body = bytes(data[(number - 1) * PART_BYTES : number * PART_BYTES])
            answer = self._write("upload_part", path, UploadId=upload, PartNumber=number, Body=body)
            sums = {key: value for key, value in answer.items() if key == "ChecksumCRC32"}
            return {"PartNumber": number, "ETag": answer["ETag"], **sums}

        count = -(-len(data) // PART_BYTES)
        with ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="part") as threads:
            return list(threads.map(put, range(1, count + 1)))

    def _abort(self, path: str, upload: str, policy: RetryPolicy | None = None) -> None:
        def abort() -> None:
            client().abort_multipart_upload(**bucket_and_key(path), UploadId=upload)

        with suppress(AbsentError):
            _request(abort, "ABORT", path, policy)

    def _is_ours(self, path: str, data: bytes, nonce: str) -> bool:
        """Whether the existing object was put by this very call."""
        found = self._head(path)
        if NONCE in found["Metadata"]:
            return bool(found["Metadata"][NONCE] == nonce)
        return found["ContentLength"] == len(data) and self.read(path) == data

    def _head(self, path: str) -> dict[str, Any]:
        return _request(lambda: client().head_object(**bucket_and_key(path)), "HEAD", path)

    def _write(self, operation: str, path: str, **arguments: Any) -> dict[str, Any]:
        def write() -> dict[str, Any]:
            with _writers:
                answer = getattr(client(), operation)(**bucket_and_key(path), **arguments)
                return dict(answer)

        return _request(write, operation, path)

    def _delete_batch(self, paths: list[str]) -> None:
        keys = [{"Key": path.partition("/")[2]} for path in paths]
        bucket = paths[0].partition("/")[0]

        def delete() -> None:
            answer = client().delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            for error in answer.get("Errors", ()):
                if error["Code"] != "NoSuchKey":
                    raise error_of_code(error["Code"], 0, "DELETE", f"{bucket}/{error['Key']}")

        _request(delete, "DELETE", paths[0])


def _put_headers(path: str, nonce: str) -> dict[str, Any]:
    return {"Metadata": {NONCE: nonce}, "ContentType": content_type(path)}


def _pages(operation: str, folder: str, follow: dict[str, str]) -> Iterator[dict[str, Any]]:
    bucket, _, key = folder.partition("/")
    arguments: dict[str, Any] = {"Bucket": bucket, "Prefix": f"{key}/" if key else ""}
    while True:

        def page(asked: dict[str, Any] = arguments) -> dict[str, Any]:
            return dict(getattr(client(), operation)(**asked))

        answer = _request(page, "LIST", folder)
        yield answer
        if not answer.get("IsTruncated"):
            return
        arguments = arguments | {own: answer[theirs] for own, theirs in follow.items()}


def _request(
    call: Callable[[], T],
    what: str,
    path: str,
    policy: RetryPolicy | None = None,
    arrivals: Arrivals | None = None,
) -> T:
    def once() -> T:
        try:
            return call()
        except ERRORS as error:
            raise as_builtin_error(error, what, path) from None

    return call_with_retries(once, f"{what} s3://{path}", policy or RETRY_POLICY, arrivals)
