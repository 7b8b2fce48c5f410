"""A file that someone asked for by name (`out=`): a picture, a page, a table.

Unlike the objects of a run it can be made again at any time, so a plain file of that name is
replaced; it stands until the new one is whole. Folders and the objects of runs are never touched.
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
from spectro.storage.places import place
from spectro.storage.store import Store

MAX_PARENTS = 5
"""How far above a file the run may lie whose object it would be."""


def put_file(out: str, data: bytes) -> None:
    """Write a file, local or at a URI; errors as `replaced`."""
    with replaced(out) as sink:
        sink.write(data)


@contextmanager
def replaced(out: str) -> Iterator[BinaryIO]:
    """A sink whose bytes take the place of the file when the block ends, and not if it fails.

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
    """Folder and name of a file; errors as `replaced`, before anything is made."""
    whole = Store(place(out, "out"))
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
