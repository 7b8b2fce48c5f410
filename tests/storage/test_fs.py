"""Put once, read, list: on a local disk and in fsspec's memory filesystem."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from spectro.storage.fs import DamagedObjectError, ObjectInfo, Store


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return Store(str(tmp_path / "run"))
    return Store(f"memory://{tmp_path.name}-{request.node.name}")


def test_round_trip_and_listing(store: Store) -> None:
    store.put("a/b.bin", b"123")
    store.put("c.bin", b"")
    assert store.read("a/b.bin") == b"123"
    assert store.list() == {"a/b.bin": 3, "c.bin": 0}
    assert store.list("a") == {"a/b.bin": 3}
    assert store.child("a").read("b.bin") == b"123"


def test_an_object_is_never_overwritten(store: Store) -> None:
    store.put("x", b"first")
    with pytest.raises(FileExistsError):
        store.put("x", b"second")
    assert not store.put_if_absent("x", b"third")
    assert store.read("x") == b"first"


def test_missing_objects(store: Store) -> None:
    assert store.list() == {}
    assert not store.exists("x")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        store.read("x")
    store.delete("x")


def test_of_many_writers_one_wins_and_nothing_is_left_behind(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "run"))
    won: list[int] = []

    def write(index: int) -> None:
        if store.put_if_absent("x", bytes([index]) * 10_000):
            won.append(index)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read("x") == bytes(won) * 10_000
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["x"]


def test_damage_is_noticed() -> None:
    info = ObjectInfo.of(b"abc")
    info.verify(b"abc", "x")
    with pytest.raises(DamagedObjectError, match="x is damaged"):
        info.verify(b"abd", "x")


def test_an_empty_uri_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Store("")
    with pytest.raises(ValueError, match="cannot be opened"):
        Store("nosuchprotocol://x")
