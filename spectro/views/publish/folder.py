"""A published run as a folder: written beside its place, then put there whole.

A folder is replaced only if all of its files are of an earlier publication: its settings.yaml names
them with their checksums.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spectro.formats import run_dir
from spectro.storage.local import TEMPORARY
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.map.drawn import drawn_map
from spectro.views.publish.card import Card
from spectro.views.publish.config import PublishConfig
from spectro.views.publish.parquet_files import ParquetFiles
from spectro.views.publish.settings import SETTINGS, settings_of
from spectro.views.publish.tables import PublishedRun
from spectro.views.run_view import RunView
from spectro.views.token_contexts import vocabulary_of

CARD = "README.md"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was written."""

    num_rows: Mapping[str, int]
    """Rows of every table, by name."""
    ids_only: tuple[str, ...]
    """Subsets whose text was left out."""
    size_bytes: int
    """Of all files."""


def write_dataset(view: RunView, config: PublishConfig, folder: Path) -> Published:
    """Write the tables, the card and settings.yaml into an empty folder.

    Raises ValueError, in one line, where the run is not measured to its end, or a subset or
    licence does not fit.
    """
    view.require_measured()
    with_text = config.subsets_with_text(view.subset_names)
    known = vocabulary_of(view) if with_text else Vocabulary(pieces=None)
    if known.pieces is None:
        with_text = frozenset()
    drawn = drawn_map(view, 0, known) if config.map and view.has_clusters else None
    run = PublishedRun(view=view, known=known, with_text=with_text, drawn=drawn)
    num_rows: dict[str, int] = {}
    for name, parts in run.tables().items():
        first = next(parts)
        files = ParquetFiles(folder / name, first.schema)
        files.write(first)
        for part in parts:
            files.write(part)
        num_rows[name] = files.close()
    (folder / CARD).write_text(
        Card(view=view, config=config, num_rows=num_rows, with_text=with_text).text(),
        encoding="utf-8",
    )
    files_there = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    content = {
        "format": FORMAT,
        **settings_of(view),
        "licences": config.licences_of(view.subset_names),
        "files": {name: _sha256(path) for name, path in sorted(files_there.items())},
    }
    (folder / SETTINGS).write_text(yaml.safe_dump(content, sort_keys=False))
    return Published(
        num_rows=num_rows,
        ids_only=tuple(name for name in view.subset_names if name not in with_text),
        size_bytes=sum(path.stat().st_size for path in _files(folder)),
    )


@contextmanager
def replaced_folder(place: Path) -> Iterator[Path]:
    """An empty folder that takes the place at the end of the block, unless the block fails.

    Raises ValueError, in one line, for a place within a run, and for one with other files.
    """
    place = place.resolve()  # of a link, what it leads to is replaced
    require_own(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    temporary.mkdir()
    try:
        yield temporary
        require_own(place)
        old = place.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
        if place.exists():
            os.rename(place, old)
        os.rename(temporary, place)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_own(place: Path) -> None:
    """Raise ValueError, in one line, unless the place is free or holds a publication alone."""
    if any((above / run_dir.NAME).exists() for above in (place, *place.absolute().parents)):
        raise ValueError(f"{place} is within a run, whose objects are its own: give another folder")
    if place.exists() and not place.is_dir():
        raise ValueError(f"{place} is a file, expected a folder: give another name")
    if not place.exists() or not any(place.iterdir()):
        return
    known = published_files(place)
    own = {SETTINGS, *known} if known else set()  # settings.yaml is a common name
    others = [p for p in _files(place) if p.relative_to(place).as_posix() not in own]
    if others:
        raise ValueError(
            f"{place} holds files that are of no published run ({others[0].name} …): give a folder "
            "that is empty or holds one"
        )
    if (place / CARD).exists() and _sha256(place / CARD) != known[CARD]:
        raise ValueError(
            f"{place}/{CARD} was changed since it was published: move it away to have a new one"
        )


def published_files(folder: Path) -> dict[str, str]:
    """Name → SHA-256 of the files of a publication; empty where there is none."""
    try:
        content: Any = yaml.safe_load((folder / SETTINGS).read_text())
        if content["format"] != FORMAT or CARD not in content["files"]:
            return {}
        return {str(name): str(digest) for name, digest in content["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        return {}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
