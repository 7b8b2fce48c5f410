"""Output files named by the user (`out=`): pictures, pages, tables; a path, or any URL of fsspec.

Unlike objects of a run, an existing file is replaced: atomically on a disk and in object storage.
Folders and objects of runs are never replaced.
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
from spectro.storage.locations import is_uri, path_or_url
from spectro.storage.remote_files import opened_url

MAX_PARENTS = 5
"""Levels between a file and the run to which its name would belong."""


def put_file(out: str, data: bytes) -> None:
    """Write a file, local or at a URL; errors as `replaced`."""
    with replaced(out) as sink:
        sink.write(data)


@contextmanager
def replaced(out: str) -> Iterator[BinaryIO]:
    """A sink whose bytes replace the file at the end of the block, unless the block fails.

    Raises ValueError, in one line, for a folder and for the name of an object of a run;
    PermissionError, OSError.
    """
    place = place_of(out)
    if is_uri(place):
        memory = io.BytesIO()
        yield memory
        opened_url(place).write(memory.getvalue())
        return
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def place_of(out: str) -> str:
    """Absolute path or URL of a file; errors as `replaced`, without side effects."""
    whole = path_or_url(out, "out")
    is_folder = not is_uri(whole) and Path(whole).is_dir()
    if out.endswith("/") or not _above(whole) or is_folder:
        raise ValueError(f"out={out} is a folder: give the name of a file in it")
    above, inside = _above(whole), whole.rpartition("/")[2]
    if not is_uri(whole):
        above = str(Path(above).resolve())
    for _ in range(MAX_PARENTS):
        if not above:
            break
        if kind_of(inside) != "unknown" and _is_run(above):
            raise ValueError(
                f"out={out} is a name of the run {above}, whose objects are never replaced: give "
                "another"
            )
        above, inside = _above(above), f"{above.rpartition('/')[2]}/{inside}"
    return whole


def _above(place: str) -> str:
    """The folder of a file or folder; '' for `/` and for a URL's bucket."""
    if not is_uri(place):
        return "" if place == "/" else os.path.dirname(place)
    above = place.rpartition("/")[0]
    return "" if above.endswith("/") else above


def _is_run(folder: str) -> bool:
    if is_uri(folder):
        return bool(opened_url(f"{folder}/{run_dir.NAME}").files())
    return Path(folder, run_dir.NAME).exists()
