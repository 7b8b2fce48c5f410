"""Large objects by parallel ranges: every fault before a real S3 server, and on a local disk."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from spectro.storage import bulk_read, s3, s3_read
from spectro.storage.retry import RetryPolicy, StorageUnavailableError
from spectro.storage.s3_client import TIMEOUT_VARIABLE
from spectro.storage.store import DamagedObjectError, MissingObjectError, ObjectInfo, Store
from tests.servers.fault_proxy import Fault, FaultProxy
from tests.servers.seaweed import BUCKET, Seaweed

QUICK = RetryPolicy(first_seconds=0.01, longest_seconds=0.05, total_seconds=20)
RANGE_BYTES = 1 << 16
DATA = os.urandom(5 * RANGE_BYTES + 1000)
INFO = ObjectInfo.of(DATA)


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_read, "RANGE_BYTES", RANGE_BYTES)
    monkeypatch.setattr(s3_read, "CHUNK_BYTES", RANGE_BYTES // 16)


@pytest.fixture
def proxy(seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy(seaweed.port, seed=1) as found:
        for name, value in seaweed.environment(found.endpoint).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(s3, "RETRY_POLICY", QUICK)
        monkeypatch.setenv(TIMEOUT_VARIABLE, "2")
        yield found


@pytest.fixture
def remote(proxy: FaultProxy, tmp_path: Path) -> Store:
    store = Store(f"s3://{BUCKET}/{tmp_path.name}")
    store.put("x", DATA)
    return store


@pytest.fixture
def local(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "run"))
    store.put("x", DATA)
    return store


@pytest.mark.parametrize("size", [0, 1, RANGE_BYTES, RANGE_BYTES + 1, 9 * RANGE_BYTES])
def test_all_bytes_and_their_checksum(tmp_path: Path, size: int) -> None:
    data, store = os.urandom(size), Store(str(tmp_path))
    store.put("x", data)
    found, info = store.read_hashed("x", size)
    assert bytes(found) == data and info == ObjectInfo.of(data)
    assert not found.readonly  # arrays share it


def test_ranges_are_read_side_by_side() -> None:
    """Four readers meet at a barrier that no fewer could pass."""
    together = threading.Barrier(bulk_read.RANGES_AT_ONCE, timeout=30)

    def read_range(start: int, stop: int) -> bytes:
        together.wait()
        return DATA[start:stop]

    size = bulk_read.RANGES_AT_ONCE * RANGE_BYTES
    data, sha256 = bulk_read.read_hashed(read_range, size)
    assert data == DATA[:size] and sha256 == hashlib.sha256(DATA[:size]).hexdigest()


@pytest.mark.parametrize(
    "fault", [Fault.TRUNCATED, Fault.STALLED, Fault.WRONG_RANGE, Fault.SLOW_DOWN, Fault.SLOW]
)
def test_only_the_range_that_failed_is_read_again(
    remote: Store, proxy: FaultProxy, fault: Fault
) -> None:
    proxy.inject(fault, count=1, operations={"GET"})
    before = proxy.seen["GET"]
    data, info = remote.read_hashed("x", len(DATA))
    assert data == DATA and info == INFO and proxy.made[fault] == 1
    assert proxy.seen["GET"] - before == 6 + (fault is not Fault.SLOW)


@pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.STALLED])
def test_a_read_goes_on_where_it_broke(remote: Store, proxy: FaultProxy, fault: Fault) -> None:
    """Each answer brings half of what is missing: three broken ones leave an eighth."""
    proxy.inject(fault, count=3)
    assert remote.read("x") == DATA
    assert remote.read_range("x", 10, len(DATA) - 10) == DATA[10:-10]
    assert proxy.made[fault] == 3


@pytest.mark.parametrize("known_at", ["first", "later"])
def test_versions_are_never_mixed(remote: Store, proxy: FaultProxy, known_at: str) -> None:
    """Some ranges come from an object that has taken the place of the first."""
    if known_at == "later":
        proxy.inject(Fault.TRUNCATED, count=1)  # the rest of a range is of the other object
    proxy.inject(Fault.OTHER_VERSION, count=1)
    with pytest.raises(DamagedObjectError, match="x is damaged: it was replaced while it was read"):
        remote.read_hashed("x", len(DATA))


def test_a_whole_object_that_is_replaced_is_read_anew(remote: Store, proxy: FaultProxy) -> None:
    proxy.inject(Fault.TRUNCATED, count=1)
    proxy.inject(Fault.OTHER_VERSION, count=1)
    assert remote.read("x") == DATA


def test_a_changed_byte_is_found(remote: Store, proxy: FaultProxy) -> None:
    proxy.inject(Fault.DAMAGED, count=1)
    _, info = remote.read_hashed("x", len(DATA))
    with pytest.raises(DamagedObjectError, match="checksum"):
        INFO.require(info, "x")


def test_patience_counts_from_the_last_byte(
    remote: Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transfer that takes longer than the patience, and then breaks, goes on; one of which no
    byte comes is given up.
    """
    monkeypatch.setattr(s3, "RETRY_POLICY", RetryPolicy(first_seconds=0.01, total_seconds=0.8))
    proxy.slow_pieces, proxy.slow_seconds = 12, 0.15
    proxy.inject(Fault.SLOW_CUT, count=2)
    assert remote.read("x") == DATA
    assert proxy.made[Fault.SLOW_CUT] == 2
    proxy.inject(Fault.SLOW_DOWN, operations={"GET"})
    with pytest.raises(StorageUnavailableError, match="s without a byte"):
        remote.read("x")


@pytest.mark.parametrize("place", ["local", "remote"])
def test_what_is_missing_short_or_long_is_named(place: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(place)
    with pytest.raises(MissingObjectError, match="y does not exist"):
        store.read_hashed("y", 2 * RANGE_BYTES)
    for size in (len(DATA) - 1, len(DATA) + 1):
        with pytest.raises(DamagedObjectError, match=f"expected {size} bytes, found {len(DATA)}"):
            store.read_hashed("x", size)
    with pytest.raises(DamagedObjectError, match="x is damaged"):
        store.read_range("x", len(DATA), len(DATA) + 10)


def test_a_local_file_that_is_replaced_is_noticed(local: Store) -> None:
    read_range, first = local._backend.read_range, threading.Event()

    def replaced_after_the_first(path, start, stop, pin):
        assert start == 0 or first.wait(30)
        found = read_range(path, start, stop, pin)
        if start == 0:
            local.delete("x")
            local.put("x", bytes(len(DATA)))
            first.set()
        return found

    local._backend.read_range = replaced_after_the_first
    with pytest.raises(DamagedObjectError, match="it was replaced while it was read"):
        local.read_hashed("x", len(DATA))
