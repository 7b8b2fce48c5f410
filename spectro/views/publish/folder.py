"""A published run as a folder: written beside its place, then put there whole.

A folder is replaced only if all of its files are of an earlier publication (earlier.py).
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

import yaml

from spectro.formats import run_dir
from spectro.storage.local import TEMPORARY
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.map.drawn import drawn_map
from spectro.views.publish.card import Card
from spectro.views.publish.config import EditedCard, PublishConfig
from spectro.views.publish.earlier import (
    CARD,
    FORMAT,
    SETTINGS,
    VERSION,
    EarlierPublication,
    earlier_publication,
)
from spectro.views.publish.parquet_files import ParquetFiles
from spectro.views.publish.settings import settings_of
from spectro.views.publish.tables import PublishedRun
from spectro.views.run_view import RunView
from spectro.views.token_contexts import vocabulary_of


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
    content = {
        "format": FORMAT,
        "version": VERSION,
        **settings_of(view),
        "licences": config.licences_of(view.subset_names),
        "files": {name: _sha256(path) for name, path in files_in(folder).items()},
    }
    (folder / SETTINGS).write_text(yaml.safe_dump(content, sort_keys=False))
    return Published(
        num_rows=num_rows,
        ids_only=tuple(name for name in view.subset_names if name not in with_text),
        size_bytes=sum(path.stat().st_size for path in files_in(folder).values()),
    )


@contextmanager
def replaced_folder(place: Path, edited_card: EditedCard = EditedCard.REFUSE) -> Iterator[Path]:
    """An empty folder that takes the place at the end of the block, unless the block fails.

    Raises ValueError, in one line, for a place within a run, for one with other files than those of
    a publication, and for a card that was edited, unless it is to be kept or replaced.
    """
    place = place.resolve()  # of a link, what it leads to is replaced
    _earlier(place, edited_card)
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (place.parent / f"{TEMPORARY}{secrets.token_hex(8)}" for _ in range(2))
    temporary.mkdir()
    try:
        yield temporary
        card = _earlier(place, edited_card).kept_card
        if card is not None:
            (temporary / CARD).write_bytes(card)
        if place.exists():
            os.rename(place, old)
        try:
            os.rename(temporary, place)
        except BaseException:
            if old.exists():
                os.rename(old, place)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _earlier(place: Path, edited_card: EditedCard) -> EarlierPublication:
    """What the folder holds; ValueError, in one line, unless it may be replaced."""
    if any((above / run_dir.NAME).exists() for above in (place, *place.parents)):
        raise ValueError(f"{place} is within a run, whose objects are its own: give another folder")
    if place.exists() and not place.is_dir():
        raise ValueError(f"{place} is a file, expected a folder: give another name")
    return earlier_publication(
        str(place), files_in(place), lambda name: (place / name).read_bytes(), edited_card,
        keeps_others=False,
    )  # fmt: skip


def files_in(folder: Path) -> dict[str, Path]:
    """Files and links of a folder by their names within it, sorted; none where it is not there."""
    found = sorted(p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())
    return {path.relative_to(folder).as_posix(): path for path in found}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
