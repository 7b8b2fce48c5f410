"""The S3 server is killed in the middle of a PUT, and started again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spectro.storage import s3
from spectro.storage.retry import RetryPolicy
from spectro.storage.s3_client import TIMEOUT_VARIABLE
from spectro.storage.store import Store
from tests.servers.seaweed import BUCKET, Seaweed

MEGABYTE = 1 << 20


@pytest.fixture
def store(seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(TIMEOUT_VARIABLE, "20")
    yield Store(f"s3://{BUCKET}/{tmp_path.name}")
    if seaweed.process is None:
        seaweed.start()


@pytest.mark.parametrize("whole_bytes", [s3.WHOLE_BYTES, 12 * MEGABYTE], ids=["whole", "in parts"])
def test_the_server_is_killed_in_the_middle_of_a_put(
    store: Store,
    seaweed: Seaweed,
    whole_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(s3, "RETRY_POLICY", RetryPolicy(first_seconds=0.2, longest_seconds=1))
    monkeypatch.setattr(s3, "WHOLE_BYTES", whole_bytes)
    monkeypatch.setattr(s3, "PART_BYTES", 12 * MEGABYTE)
    size = 32 * MEGABYTE
    store.put("old", b"old")
    data = bytes(size)
    writer = threading.Thread(target=store.put, args=("new", data))
    caplog.set_level(logging.WARNING)
    writer.start()
    _wait_for_bytes(seaweed.folder, size // 4)
    seaweed.kill()
    assert writer.is_alive()
    seaweed.start()
    assert store.read("old") == b"old"
    writer.join()
    assert "at attempt 1" in caplog.text
    assert store.read("new") == data
    assert set(store.list()) == {"old", "new"}


def test_the_writer_dies_with_the_server_and_the_object_is_absent(
    store: Store, seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "RETRY_POLICY", RetryPolicy(total_seconds=0))
    store.put("old", b"old")
    failed: list[BaseException] = []

    def write() -> None:
        try:
            store.put("new", bytes(32 * MEGABYTE))
        except OSError as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    _wait_for_bytes(seaweed.folder, 8 * MEGABYTE)
    seaweed.kill()
    writer.join()
    seaweed.start()
    assert len(failed) == 1
    assert store.list() == {"old": 3}
    assert not store.exists("new")
    assert store.put_if_absent("new", b"again")


def _wait_for_bytes(folder: Path, more: int) -> None:
    """Until the server has written so many bytes more."""
    before = _size(folder)
    end = time.monotonic() + 60
    while _size(folder) < before + more:
        assert time.monotonic() < end, "the server writes nothing"
        time.sleep(0.005)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.dat"))
