"""A map's folder read back, as its page does: by what map.json says, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DTYPES = {"u8": "<u1", "u16": "<u2", "u32": "<u4", "i32": "<i4", "f32": "<f4", "f64": "<f8"}


@dataclass(frozen=True)
class ReadMap:
    """All of a folder."""

    marker: dict[str, Any]
    tokens: dict[str, np.ndarray]
    clusters: dict[str, np.ndarray]
    profiles: np.ndarray
    sequences: np.ndarray
    sequence_subsets: np.ndarray
    regions: list[dict[str, Any]]
    vocabulary: list[str | None]


def read_map(folder: Path | str) -> ReadMap:
    """Asserts that every file has the rows that map.json promises."""
    folder = Path(folder)
    marker = json.loads((folder / "map.json").read_text())
    tokens, clusters, sequences = marker["tokens"], marker["clusters"], marker["sequences"]
    num, per_file = clusters["count"], clusters["profiles"]["rows_per_file"]
    subset_dtype = DTYPES[tokens["columns"]["subset"]]
    return ReadMap(
        marker=marker,
        tokens={
            name: chunks(folder, f"tokens/{name}", dtype, 1, tokens["count"], tokens)[:, 0]
            for name, dtype in tokens["columns"].items()
        },
        clusters={name: whole(folder, name, what, num) for name, what in
                  clusters["columns"].items()},
        profiles=rows(folder, "clusters/profiles", "<f2", len(marker["components"]), num, per_file),
        sequences=chunks(folder, "sequences/ids", sequences["dtype"], marker["context"] + 1,
                         sequences["count"], sequences),
        sequence_subsets=np.fromfile(folder / sequences["subsets"], subset_dtype),
        regions=json.loads((folder / "regions.json").read_text()),
        vocabulary=json.loads((folder / "vocabulary.json").read_text()),
    )  # fmt: skip


def whole(folder: Path, name: str, what: Any, num: int) -> np.ndarray:
    dtype, width = (what, None) if isinstance(what, str) else what
    values = np.fromfile(folder / f"clusters/{name}.bin", DTYPES[dtype])
    return values.reshape(num) if width is None else values.reshape(num, width)


def chunks(folder, stem, dtype, width, num, marker):
    per_file = (
        marker["rows_per_file"] if "rows_per_file" in marker else marker["sequences_per_file"]
    )
    return rows(folder, stem, DTYPES[dtype], width, num, per_file)


def rows(folder, stem, dtype, width, num, per_file):
    """All files of a column one after the other: each but the last is full, none is left over."""
    names = sorted(folder.glob(f"{stem}-*.bin"))
    assert names == [folder / f"{stem}-{i:04d}.bin" for i in range(-(-num // per_file))]
    found = [np.fromfile(name, dtype).reshape(-1, width) for name in names]
    assert [len(part) for part in found[:-1]] == [per_file] * max(0, len(found) - 1)
    values = np.concatenate([np.empty((0, width), dtype), *found])
    assert len(values) == num
    return values
