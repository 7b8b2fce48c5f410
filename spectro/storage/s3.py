"""Objects in S3, or a server that speaks its protocol (ADR 046).

Every commit carries `If-None-Match: *`. A refusal may be the echo of an own earlier attempt whose
answer was lost, so every writer leaves a random word in the object's metadata and recognises it.
The client's own retries are off: `retry.py` decides, because only here is known what a refused
second attempt means.

Load: at most `MOST_WRITES` requests of a process write at a time. Names begin with what spreads
(group, token shard), so the servers' partitions by prefix share the requests of many workers.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from spectro.storage.content_types import content_type
from spectro.storage.retry import RetryPolicy, StorageUnavailableError, TransientError, persist
from spectro.storage.s3_client import client
from spectro.storage.s3_errors import ERRORS, AbsentError, TakenError, meaning, translated
from spectro.storage.store import Entry

T = TypeVar("T")
PATIENCE = RetryPolicy()
AT_ONCE = RetryPolicy(total_seconds=0)
ROUNDS = 3
"""Puts of an object that is taken whenever it is put, and absent whenever it is looked at."""
WHOLE_BYTES = 4 << 30
"""Up to this size an object is one PUT (the protocol allows 5 GiB), for servers keep only PUTs
apart reliably: one that was measured lets several uploads in parts of one name succeed. What is
longer should be named by its content."""
PART_BYTES = 64 << 20
"""Every part of an upload but the last has this size (some servers refuse uneven ones)."""
MOST_WRITES = 8
"""Requests of one process that write at a time."""
PARTS_AT_ONCE = 4
"""Parts of one upload on their way, each a copy in memory."""
DELETED_AT_ONCE = 1000
"""Most keys of one bulk delete."""
WRITER = "spectro-writer"
"""Metadata of an object: a random word of the call that put it."""
_writers = threading.BoundedSemaphore(MOST_WRITES)


class S3Objects:
    """Objects of S3; paths are `bucket/key`."""

    def create(self, path: str, data: bytes) -> None:
        """Put an object exclusively; beyond `WHOLE_BYTES` in parts, which become one in the end.

        Raises:
            FileExistsError: another writer was first.
            StorageUnavailableError: no answer, or the name is taken and free by turns.
        """
        word = secrets.token_hex(16)
        for _ in range(ROUNDS):
            try:
                return self._create(path, data, word)
            except TakenError:
                try:
                    ours = self._is_ours(path, data, word)
                except FileNotFoundError:  # removed since
                    continue
                if not ours:
                    raise FileExistsError(path) from None
                return None
        raise StorageUnavailableError(
            f"PUT s3://{path}: taken and yet not there, {ROUNDS} times: who removes it?"
        )

    def read(self, path: str) -> bytes:
        """All bytes, as many as were announced and of the announced checksum."""

        def body() -> bytes:
            answer = client().get_object(**_place(path))
            data = bytes(answer["Body"].read())
            if len(data) != answer["ContentLength"]:
                raise TransientError(f"{len(data)} of {answer['ContentLength']} bytes")
            return data

        return _persist(body, "GET", path)

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        """Some bytes, as many as were asked for."""

        def body() -> bytes:
            answer = client().get_object(**_place(path), Range=f"bytes={start}-{stop - 1}")
            data = bytes(answer["Body"].read())
            if len(data) != stop - start:
                raise TransientError(f"{len(data)} of {stop - start} bytes")
            return data

        return _persist(body, "GET", path)

    def exists(self, path: str) -> bool:
        """Whether it is there."""
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
        """Remove objects, a thousand in a request."""
        ordered = sorted(paths)
        for start in range(0, len(ordered), DELETED_AT_ONCE):
            self._delete_batch(ordered[start : start + DELETED_AT_ONCE])

    def sweep(self, folder: str, older_than_seconds: float) -> int:
        """Abort uploads in parts that were begun so long ago and never completed."""
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

    def _create(self, path: str, data: bytes, word: str) -> None:
        """Put once; raises TakenError."""
        if len(data) > WHOLE_BYTES:
            return self._create_in_parts(path, data, word)
        self._write("put_object", path, Body=data, IfNoneMatch="*", **_told(path, word))

    def _create_in_parts(self, path: str, data: bytes, word: str) -> None:
        if self.exists(path):  # or all of it would travel for nothing
            raise TakenError(path)
        begun = self._write("create_multipart_upload", path, **_told(path, word))
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
        except AbsentError:  # the upload is gone: an earlier attempt has completed it
            raise TakenError(path) from None
        except BaseException:
            with suppress(Exception):  # what matters is what is being raised
                self._abort(path, upload, AT_ONCE)
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

    def _abort(self, path: str, upload: str, patience: RetryPolicy | None = None) -> None:
        def abort() -> None:
            client().abort_multipart_upload(**_place(path), UploadId=upload)

        with suppress(AbsentError):
            _persist(abort, "ABORT", path, patience)

    def _is_ours(self, path: str, data: bytes, word: str) -> bool:
        """Whether the object that is in the way was put by this very call."""
        found = self._head(path)
        if WRITER in found["Metadata"]:
            return bool(found["Metadata"][WRITER] == word)
        return found["ContentLength"] == len(data) and self.read(path) == data

    def _head(self, path: str) -> dict[str, Any]:
        return _persist(lambda: client().head_object(**_place(path)), "HEAD", path)

    def _write(self, operation: str, path: str, **arguments: Any) -> dict[str, Any]:
        def write() -> dict[str, Any]:
            with _writers:
                answer = getattr(client(), operation)(**_place(path), **arguments)
                return dict(answer)

        return _persist(write, operation, path)

    def _delete_batch(self, paths: list[str]) -> None:
        keys = [{"Key": path.partition("/")[2]} for path in paths]
        bucket = paths[0].partition("/")[0]

        def delete() -> None:
            answer = client().delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            for error in answer.get("Errors", ()):
                if error["Code"] != "NoSuchKey":
                    raise translated(error["Code"], 0, "DELETE", f"{bucket}/{error['Key']}")

        _persist(delete, "DELETE", paths[0])


def _told(path: str, word: str) -> dict[str, Any]:
    """What is put beside the bytes of an object: who writes, and what browsers take it for."""
    return {"Metadata": {WRITER: word}, "ContentType": content_type(path)}


def _place(path: str) -> dict[str, str]:
    bucket, _, key = path.partition("/")
    return {"Bucket": bucket, "Key": key}


def _pages(operation: str, folder: str, follow: dict[str, str]) -> Iterator[dict[str, Any]]:
    """All pages of a listing; each is asked for until it comes."""
    bucket, _, key = folder.partition("/")
    arguments: dict[str, Any] = {"Bucket": bucket, "Prefix": f"{key}/" if key else ""}
    while True:

        def page(asked: dict[str, Any] = arguments) -> dict[str, Any]:
            return dict(getattr(client(), operation)(**asked))

        answer = _persist(page, "LIST", folder)
        yield answer
        if not answer.get("IsTruncated"):
            return
        arguments = arguments | {own: answer[theirs] for own, theirs in follow.items()}


def _persist(call: Callable[[], T], what: str, path: str, patience: RetryPolicy | None = None) -> T:
    """The call, its errors translated, repeated while they are such as pass."""

    def once() -> T:
        try:
            return call()
        except ERRORS as error:
            raise meaning(error, what, path) from None

    return persist(once, f"{what} s3://{path}", patience or PATIENCE)
