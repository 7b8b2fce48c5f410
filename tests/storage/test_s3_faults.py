"""Every fault of the proxy before a real S3 server: right bytes, one object, no error."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from spectro.storage import s3
from spectro.storage.retry import RetryPolicy, StorageUnavailableError
from spectro.storage.s3_client import TIMEOUT_VARIABLE, client
from spectro.storage.store import Store
from tests.servers.fault_proxy import Fault, FaultProxy
from tests.servers.seaweed import BUCKET, Seaweed

QUICK = RetryPolicy(first_seconds=0.01, longest_seconds=0.05, total_seconds=120)
HANGS = (Fault.HANG, Fault.HANG_LATE, Fault.STALLED)
OF_RANGES = (Fault.FORBIDDEN, Fault.SLOW, Fault.WRONG_RANGE, Fault.OTHER_VERSION, Fault.DAMAGED)
"""Not outlived, or not made of whole objects: see `test_bulk_read.py`."""


@pytest.fixture
def proxy(seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy(seaweed.port, seed=1) as found:
        for name, value in seaweed.environment(found.endpoint).items():
            monkeypatch.setenv(name, value)
            monkeypatch.setattr(s3, "RETRY_POLICY", QUICK)
        yield found


@pytest.fixture
def store(proxy: FaultProxy, tmp_path: Path) -> Store:
    return Store(f"s3://{BUCKET}/{tmp_path.name}")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)  # the least that S3 allows
    monkeypatch.setattr(s3, "WHOLE_BYTES", 6 << 20)


@pytest.mark.parametrize("fault", [f for f in Fault if f not in OF_RANGES])
def test_a_fault_is_outlived(
    store: Store, proxy: FaultProxy, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(range(256)) * 1200
    size = len(data)
    count = _few(fault, monkeypatch)
    proxy.inject(fault, count=count)
    store.put("a/x", data)
    assert store.read("a/x") == data
    assert store.list() in ({"a/x": size}, {})  # an old list may lack what is new
    proxy.clear()
    assert store.list() == {"a/x": size}
    assert not store.put_if_absent("a/x", b"another's")
    store.delete_many(["a/x"])
    assert not store.exists("a/x")
    assert fault is Fault.STALE_LIST or proxy.made[fault] == count


def test_a_stale_list_is_stale_and_the_fence_holds(store: Store, proxy: FaultProxy) -> None:
    assert store.list() == {}
    store.put("x", b"1")
    proxy.inject(Fault.STALE_LIST, count=1)
    assert store.list() == {}
    assert not store.put_if_absent("x", b"2")
    assert store.list() == {"x": 1}
    assert proxy.made == {Fault.STALE_LIST: 1}


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.CUT, Fault.LOST_ANSWER, Fault.HANG_LATE])
@pytest.mark.usefixtures("small_parts")
def test_an_upload_in_parts_outlives_faults(
    store: Store, proxy: FaultProxy, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(range(256)) * (7 << 12)  # 7 MiB: a part of 5 and one of 2
    count = _few(fault, monkeypatch)
    proxy.inject(fault, count=count)
    store.put("big", data)
    assert proxy.made[fault] == count
    proxy.clear()
    assert store.read("big") == data
    assert not store.put_if_absent("big", data)
    assert proxy.seen["PUT"] >= 2 + (fault is Fault.CUT) * count
    # uploads whose beginning was done and not answered are known to nobody
    unknown = count if fault in (Fault.LOST_ANSWER, Fault.HANG_LATE) else 0
    assert len(_uploads()) == store.sweep(older_than_seconds=-60) == unknown
    assert _uploads() == []
    assert store.list() == {"big": len(data)}


@pytest.mark.usefixtures("small_parts")
def test_the_answer_to_the_completion_is_lost(store: Store, proxy: FaultProxy) -> None:
    proxy.inject(Fault.LOST_ANSWER, count=1, operations={"POST"}, name="uploadId=")
    store.put("big", b"x" * (7 << 20))
    assert proxy.made == {Fault.LOST_ANSWER: 1}
    assert store.read("big") == b"x" * (7 << 20)


@pytest.mark.usefixtures("small_parts")
def test_uploads_in_parts_at_the_same_time_do_not_mix(store: Store) -> None:
    """This server completes uploads one over the other (ADR 046), but each of them whole."""
    won: list[int] = []

    def write(index: int) -> None:
        if store.put_if_absent("big", bytes([index]) * (7 << 20)):
            won.append(index)

    _together(write, 3)
    assert store.read("big") in [bytes([index]) * (7 << 20) for index in won]
    assert store.list() == {"big": 7 << 20}
    assert _uploads() == []


def test_a_server_that_forgets_metadata_is_asked_for_the_bytes(store: Store) -> None:
    place = dict(zip(("Bucket", "Key"), store.path("x").split("/", 1), strict=True))
    client().put_object(**place, Body=b"12")
    objects = s3.S3Backend()
    assert objects._is_ours(store.path("x"), b"12", "word")
    assert not objects._is_ours(store.path("x"), b"13", "word")
    assert not objects._is_ours(store.path("x"), b"123", "word")


def test_of_many_writers_one_wins_in_the_worst_of_weather(store: Store, proxy: FaultProxy) -> None:
    """Also where answers are lost: the winner knows that it is, and no other believes it."""
    for fault in (Fault.SLOW_DOWN, Fault.CUT, Fault.LOST_ANSWER):
        proxy.inject(fault, probability=0.25)
    for round_number in range(4):
        won: list[int] = []

        def write(index: int, name: str = f"x{round_number}", won: list[int] = won) -> None:
            if store.put_if_absent(name, bytes([index]) * 10_000):
                won.append(index)

        _together(write, 8)
        assert len(won) == 1
        assert store.read(f"x{round_number}") == bytes(won) * 10_000
    assert min(proxy.made[fault] for fault in (Fault.SLOW_DOWN, Fault.LOST_ANSWER)) > 0


def test_retries_are_told_of_and_end(
    store: Store,
    proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(s3, "RETRY_POLICY", RetryPolicy(longest_seconds=0.1, total_seconds=2))
    assert not store.exists("x")  # the client is made
    proxy.inject(Fault.SLOW_DOWN)
    with caplog.at_level(logging.WARNING), pytest.raises(StorageUnavailableError) as caught:
        store.put("x", b"1")
    assert f"{store.uri}/x" in str(caught.value)
    assert "SlowDown (HTTP 503)" in str(caught.value)
    assert f"{store.uri}/x: SlowDown (HTTP 503) at attempt 1" in caplog.text
    assert proxy.made[Fault.SLOW_DOWN] == caplog.text.count("at attempt") + 1
    proxy.clear()
    assert store.put_if_absent("x", b"1")


def test_a_refusal_is_not_repeated(store: Store, proxy: FaultProxy) -> None:
    proxy.inject(Fault.FORBIDDEN)
    with pytest.raises(PermissionError, match=r"AccessDenied.*policy"):
        store.put("x", b"1")
    assert proxy.made[Fault.FORBIDDEN] == 1


def _few(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often to make a fault; hangs once, as the client waits for each."""
    if fault not in HANGS:
        return 2
    monkeypatch.setenv(TIMEOUT_VARIABLE, "2")
    return 1


def _together(write, count: int) -> None:
    threads = [threading.Thread(target=write, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _uploads() -> list[object]:
    return list(client().list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))
