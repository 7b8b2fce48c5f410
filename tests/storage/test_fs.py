"""Put once, read, list, delete: on a local disk, in a filesystem of fsspec, in S3."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import stat
import threading
import time
from pathlib import Path

import pytest

from spectro.storage.local import TEMPORARY
from spectro.storage.store import CONCURRENT_READS, DamagedObjectError, ObjectInfo, Store
from tests.servers.moto_server import MotoServer
from tests.servers.seaweed import BUCKET


@pytest.fixture(params=["local", "google", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "local":
        return Store(str(tmp_path / "run"))
    if request.param == "google":
        request.getfixturevalue("google")
        return Store(f"gs://{tmp_path.name}-{request.node.name}")
    server: MotoServer = request.getfixturevalue("moto_server")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return Store(f"s3://{BUCKET}/{tmp_path.name}")


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
    with pytest.raises(FileNotFoundError, match="does not exist"):
        list(store.read_many(["x"]))
    assert list(store.read_many(["x"], missing_ok=True)) == []
    store.delete("x")
    store.delete_many(["x", "y"])
    store.delete_many([])


def test_entries_tell_size_and_time(store: Store) -> None:
    before = time.time()
    store.put("a/b", b"123")
    store.put("ab", b"4")
    (entry,) = store.entries("a").values()
    assert entry.size_bytes == 3
    assert before - 2 <= entry.modified <= time.time() + 2  # S3 tells whole seconds
    assert list(store.entries()) == ["a/b", "ab"]


def test_many_are_read_in_order_and_deleted(store: Store) -> None:
    names = [f"d/{i:03}" for i in reversed(range(3 * CONCURRENT_READS))]
    for name in names:
        store.put(name, name.encode())
    assert list(store.read_many(names)) == [(name, name.encode()) for name in names]
    with pytest.raises(FileNotFoundError):
        list(store.read_many([*names, "absent", *names]))
    next(store.read_many(names))  # a reader that stops early leaves nothing running
    store.delete_many(names[1:])
    assert list(store.list()) == names[:1]


def test_the_fence_is_there_and_the_probe_leaves_nothing(store: Store) -> None:
    store.check_fence()
    assert store.list() == {}


def test_a_storage_without_fence_is_told_of(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def overwrite(path: str, data: bytes) -> None:
        store.delete(path.removeprefix(f"{store.root}/"))
        create(path, data)

    create = store._backend.create
    monkeypatch.setattr(store._backend, "create", overwrite)
    with pytest.raises(ValueError, match="no exclusive create"):
        store.check_fence()
    assert store.list() == {}


def test_only_the_uri_travels_to_other_processes(store: Store) -> None:
    store.put("x", b"1")
    there = pickle.loads(pickle.dumps(store))
    assert (there.uri, there.root, there.is_local) == (store.uri, store.root, store.is_local)
    assert there.read("x") == b"1"
    assert repr(there) == f"Store({store.uri!r})"


def test_unfinished_files_of_dead_writers_are_swept(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.put("a/b", b"1")
    old, new = tmp_path / "a" / f"{TEMPORARY}old", tmp_path / "a" / f"{TEMPORARY}new"
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 100, time.time() - 100))
    assert store.list() == {"a/b": 1}
    assert store.sweep(60) == 1
    assert (old.exists(), new.exists()) == (False, True)


def test_a_writer_is_killed_in_the_middle_of_a_put(tmp_path: Path) -> None:
    """The object is absent, nothing of it is listed, and the next writer succeeds."""
    root = tmp_path / "run"

    def write() -> None:
        os.fsync = lambda _: time.sleep(1000)  # to be killed when all but the link is done
        Store(str(root)).put("x", bytes(100_000))

    writer = multiprocessing.get_context("fork").Process(target=write)
    writer.start()
    try:
        while not any(file.stat().st_size for file in root.glob(f"{TEMPORARY}*")):
            assert writer.is_alive(), "it ended before it could be killed"
            time.sleep(0.01)
    finally:
        writer.kill()
        writer.join()
    store = Store(str(root))
    assert store.list() == {}
    assert store.put_if_absent("x", b"1")
    assert store.sweep(older_than_seconds=-60) == 1
    assert [file.name for file in root.iterdir()] == ["x"]


def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_name_before_put_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, seen = Store(str(tmp_path)), []

    def synced(file: int) -> None:
        seen.append((stat.S_ISDIR(os.fstat(file).st_mode), store.exists("a/x")))

    monkeypatch.setattr(os, "fsync", synced)
    store.put("a/x", b"1")
    assert seen == [(False, False), (True, True)]


def test_a_disk_without_hard_links_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    store = Store(str(tmp_path))
    with pytest.raises(ValueError, match="hard links"):
        store.put("x", b"1")
    assert list(tmp_path.iterdir()) == []


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
        Store("abfs://box@account/x")
