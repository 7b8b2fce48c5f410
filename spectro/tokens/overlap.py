"""Refuses sources that read the same data, and counts sequences in two splits.

Files are compared by device and inode, through links. Copies of a text are only counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectro.tokens.config import FIELDS_OF, Source, SourceKind
from spectro.tokens.sources.content import shown
from spectro.tokens.sources.folders import files_at, files_in, identity_of
from spectro.tokens.sources.jsonl import ENDINGS as JSONL_ENDINGS
from spectro.tokens.sources.memmap import pair_at
from spectro.tokens.sources.parquet import ENDINGS as PARQUET_ENDINGS
from spectro.tokens.sources.remote import OpenUrl, SourceFile, is_url, no_urls
from spectro.tokens.sources.source_report import SourceReport

REPEATED = "sequences that are also in another split"
Key = tuple[object, ...]


def require_distinct(sources: Mapping[str, Source], open_url: OpenUrl = no_urls) -> None:
    """Raise ValueError for two subsets that read the same data; two fields are two texts."""
    if len(sources) < 2:
        return
    readers: dict[Key, list[tuple[str, str | None]]] = defaultdict(list)
    for name, source in sources.items():
        field = source.field if "field" in FIELDS_OF[source.kind] else None
        for key, what in _data_of(source, open_url).items():
            for other, other_field in readers[key]:
                if other_field == field or None in (other_field, field):
                    raise ValueError(
                        f"subsets {other!r} and {name!r} both read {what}: the same text would be "
                        "measured twice, and sampled in one split and measured in another; give "
                        "each subset data that no other has"
                    )
            readers[key].append((name, field))


def _data_of(source: Source, open_url: OpenUrl) -> dict[Key, str]:
    """Identity of the data of a source → its name in messages."""
    match source.kind:
        case SourceKind.EMBEDDED:
            return {("embedded", source.name): f"the embedded part {source.name!r}"}
        case SourceKind.HUB:
            words = (source.hub_config, source.hub_split)
            named = f"{source.name!r} (config {words[0]}, split {words[1]})"
            return {("hub", source.name, *words): named}
        case SourceKind.MEMMAP:
            names = [pair_at(str(source.path))[1]]
        case _:
            names = [str(file) for file in _text_files(source, open_url)]
    return {
        ("file", name if is_url(name) else identity_of(name)): shown(name)
        for name in names
        if is_url(name) or Path(name).is_file()
    }


def _text_files(source: Source, open_url: OpenUrl) -> list[SourceFile]:
    path, unseen = str(source.path), SourceReport()
    try:
        if source.kind is SourceKind.TEXT_FOLDER:
            return files_in(path, source.pattern, unseen, open_url)
        is_jsonl = source.kind is SourceKind.JSONL
        return files_at(path, JSONL_ENDINGS if is_jsonl else PARQUET_ENDINGS, unseen, open_url)
    except (ValueError, OSError):
        return []


def count_repeated(
    read: Mapping[str, NDArray[np.int32]],
    bounds: Mapping[str, slice],
    reports: Mapping[str, SourceReport],
) -> None:
    """Count, in each subset's report, sequences equal to one of another split.

    Args:
        read: subset → all of its sequences, int32 [num_sequences, T+1].
        bounds: split → its range in each subset.
        reports: by subset; updated.
    """
    splits_of: dict[int, set[str]] = defaultdict(set)
    rows = {name: [hash(row.tobytes()) for row in ids] for name, ids in read.items()}
    for own in rows.values():
        for split, part in bounds.items():
            for row in own[part]:
                splits_of[row].add(split)
    for name, own in rows.items():
        reports[name].count(REPEATED, sum(len(splits_of[row]) > 1 for row in own))
