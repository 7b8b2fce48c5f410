"""Output files named by the user (`out=`): pictures, pages, tables.

Unlike objects of a run, an existing file is replaced, atomically. Folders and objects of runs are
never replaced.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from spectro.formats import run_dir
from spectro.formats.object_kinds import kind_of
from spectro.storage.local import TEMPORARY
from spectro.storage.locations import resolve_location
from spectro.storage.store import Store

MAX_PARENTS = 5
"""Levels between a file and the run to which its name would belong."""


def put_file(out: str, data: bytes) -> None:
    """Write a file, local or at a URI; errors as `replaced`."""
    with replaced(out) as sink:
        sink.write(data)


@contextmanager
def replaced(out: str) -> Iterator[BinaryIO]:
    """A sink whose bytes replace the file at the end of the block, unless the block fails.

    Raises ValueError, in one line, for a folder and for the name of an object of a run.
    """
    store, name = place_of(out)
    if not store.is_local:
        memory = io.BytesIO()
        yield memory
        store.delete(name)
        store.put(name, memory.getvalue())
        return
    path = Path(store.path(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def place_of(out: str) -> tuple[Store, str]:
    """Store and name of a file; errors as `replaced`, without side effects."""
    whole = Store(resolve_location(out, "out"))
    store, name = whole.above(), whole.uri.rpartition("/")[2]
    is_folder = store.is_local and Path(store.path(name)).is_dir()
    if out.endswith("/") or store.uri == whole.uri or is_folder:
        raise ValueError(f"out={out} is a folder: give the name of a file in it")
    above, inside = Store(str(Path(store.root).resolve())) if store.is_local else store, name
    for _ in range(MAX_PARENTS):
        if kind_of(inside) != "unknown" and above.exists(run_dir.NAME):
            raise ValueError(
                f"out={out} is a name of the run {above.uri}, whose objects are never replaced: "
                "give another"
            )
        inside = f"{above.uri.rpartition('/')[2]}/{inside}"
        above = above.above()
    return store, name
