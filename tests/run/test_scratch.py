"""Scratch: made once whoever comes first, never removed under another's feet."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from spectro.storage.node_cache import OLD_SECONDS, WHOLE, NodeCache

FORK = multiprocessing.get_context("fork")


def maker(base: Path, say: str, ends: Connection) -> None:
    """Make a part, say so, and hold it until told; one that is to be killed never gets done."""

    def make(folder: Path) -> None:
        (folder / "data").write_text("made by " + say)
        ends.send("making")
        time.sleep(1000 if say == "killed" else 0.5)

    with NodeCache(str(base), "name") as scratch:
        scratch.made("part", make)
        ends.send("made")
        ends.recv()


@contextmanager
def another(base: Path, say: str) -> Iterator[tuple[BaseProcess, Connection]]:
    """Another process at the same scratch, and what to hear it by."""
    here, there = FORK.Pipe()
    process = FORK.Process(target=maker, args=(base, say, there))
    process.start()
    try:
        yield process, here
    finally:
        process.kill()
        process.join()


def never(folder: Path) -> None:
    raise AssertionError("it is made already")


def put(text: str):
    return lambda folder: (folder / "data").write_text(text)


def files(base: Path) -> list[str]:
    return sorted(path.name for path in base.rglob("*") if path.is_file())


def test_what_a_killed_maker_left_is_begun_anew(tmp_path: Path) -> None:
    with another(tmp_path, "killed") as (process, ends):
        assert ends.recv() == "making"
        process.kill()
        process.join()
    with NodeCache(str(tmp_path), "name") as scratch:
        assert (scratch.made("part", put("anew")) / "data").read_text() == "anew"


def test_who_comes_second_waits_and_takes_what_is_there(tmp_path: Path) -> None:
    with another(tmp_path, "first") as (_, ends):
        assert ends.recv() == "making"
        with NodeCache(str(tmp_path), "name") as scratch:
            assert (scratch.made("part", never) / "data").read_text() == "made by first"


def test_what_another_process_holds_is_not_removed(tmp_path: Path) -> None:
    with another(tmp_path, "other") as (process, ends):
        assert (ends.recv(), ends.recv()) == ("making", "made")
        mine = NodeCache(str(tmp_path), "name")
        folder = mine.made("part", never)
        mine.remove()
        assert (folder / WHOLE).exists()
        ends.send("go")
        process.join()
    mine.remove()
    assert not files(tmp_path)


def test_after_removal_it_is_made_again(tmp_path: Path) -> None:
    scratch = NodeCache(str(tmp_path), "name")
    scratch.made("part", put("first"))
    scratch.remove()
    assert (scratch.made("part", put("second")) / "data").read_text() == "second"
    scratch.remove()
    assert not files(tmp_path)


def test_old_scratch_goes_when_something_is_made_unless_it_is_held(tmp_path: Path) -> None:
    for name in ("old", "held", "young"):
        with NodeCache(str(tmp_path), name) as scratch:
            scratch.made("part", put(name))
    long_ago = time.time() - OLD_SECONDS - 60
    for name in ("old", "held"):
        folder = scratch.folder.with_name(name)
        for path in (folder, folder.with_name(f"{name}.lock")):
            os.utime(path, (long_ago, long_ago))
    held = NodeCache(str(tmp_path), "held")
    held.made("part", never)
    with NodeCache(str(tmp_path), "new") as scratch:
        scratch.made("part", put("new"))
    left = {path.name for path in scratch.folder.parent.iterdir() if path.is_dir()}
    assert left == {"held", "young", "new"}
    held.close()


def test_a_full_disk_names_the_folder_and_what_to_do(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with NodeCache(str(tmp_path), "name") as scratch:
        with pytest.raises(OSError, match=r"name/part cannot be written .* give run\.scratch"):
            scratch.made("part", full)


def test_a_source_that_may_not_be_read_is_not_a_full_disk(tmp_path: Path) -> None:
    def refused(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/data/part-00000.parquet")

    with NodeCache(str(tmp_path), "name") as scratch:
        with pytest.raises(PermissionError, match="part-00000"):
            scratch.made("part", refused)
