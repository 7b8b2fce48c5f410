"""Subsets that read the same data are refused; equal sequences in two splits are counted."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from spectro.tokens.build import build
from spectro.tokens.config import Source, SourceKind, TokensConfig
from spectro.tokens.overlap import REPEATED, count_repeated, require_distinct
from spectro.tokens.sources.source_report import SourceReport
from tests.tokens.byte_tokenizer import EOT, VOCAB, encode
from tests.tokens.test_memmap import write_pair


def source(kind: str, path: Path | str, **more: str) -> Source:
    return Source(kind=SourceKind(kind), path=str(path), **more)  # type: ignore[arg-type]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the same file below two names, and a link to the folder."""
    inner = tmp_path / "all" / "inner"
    inner.mkdir(parents=True)
    (inner / "a.jsonl").write_text('{"text": "some text", "other": "words"}\n')
    os.link(inner / "a.jsonl", tmp_path / "hard.jsonl")
    (tmp_path / "link").symlink_to(tmp_path / "all")
    (inner / "b.md").write_text("# a title")
    write_pair(tmp_path / "ids", [np.arange(9)] * 20)
    return tmp_path


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("jsonl", "all"), ("jsonl", "all/inner/a.jsonl")),
        (("jsonl", "all/inner/a.jsonl"), ("jsonl", "hard.jsonl")),
        (("text_folder", "all"), ("text_folder", "link")),
        (("text_folder", "all/inner"), ("text_folder", "all/../all")),
        (("text_folder", "all"), ("jsonl", "all/*/*.jsonl")),
        (("memmap", "ids"), ("memmap", "ids.bin")),
    ],
)
def test_two_subsets_of_the_same_files_are_refused(
    place: Path, first: tuple[str, str], second: tuple[str, str]
) -> None:
    one, two = (source(kind, place / path) for kind, path in (first, second))
    with pytest.raises(ValueError, match=r"subsets 'one' and 'two' both read .*(\.jsonl|ids\.bin)"):
        require_distinct({"one": one, "two": two})


def test_two_subsets_of_one_named_part_are_refused() -> None:
    part = Source(kind=SourceKind.EMBEDDED, name="python")
    hub = Source(kind=SourceKind.HUB, name="a/b")
    for two in ({"one": part, "two": part}, {"one": hub, "two": hub}):
        with pytest.raises(ValueError, match="both read"):
            require_distinct(two)
    other = Source(kind=SourceKind.HUB, name="a/b", hub_config="c")
    require_distinct({"one": hub, "two": other, "three": part})


def test_other_files_and_other_fields_are_other_texts(place: Path) -> None:
    require_distinct(
        {
            "md": source("text_folder", place / "all", pattern="**/*.md"),
            "text": source("jsonl", place / "all"),
            "other": source("jsonl", place / "all", field="other"),
            "ids": source("memmap", place / "ids"),
            "absent": source("jsonl", place / "absent"),
        }
    )


def test_sequences_in_two_splits_are_counted() -> None:
    """`one`: 1 2 | 3 | 4 4; `two`: 5 4 | 2 | 6 7. In two splits: 2 of one, 4 and 4, and 4 and 2."""
    read = {
        "one": np.array([[1], [2], [3], [4], [4]], dtype=np.int32),
        "two": np.array([[5], [4], [2], [6], [7]], dtype=np.int32),
        "three": np.array([[8], [9], [10], [11], [11]], dtype=np.int32),
    }
    bounds = {"sampling": slice(0, 2), "evaluation": slice(2, 3), "probe": slice(3, None)}
    reports = {name: SourceReport() for name in read}
    count_repeated(read, bounds, reports)
    assert {name: own.counts[REPEATED] for name, own in reports.items()} == {
        "one": 3, "two": 2, "three": 0,
    }  # fmt: skip


def test_copies_of_a_file_are_in_the_reports(tmp_path: Path) -> None:
    """Both subsets have the same 12 sequences, in other orders: those in other splits count."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("".join(chr(40 + i) * 4 for i in range(13)))
    config = TokensConfig(
        subsets={name: source("text_folder", tmp_path / name) for name in ("one", "two")},
        context=4, num_probe_sequences=4, num_sampling_sequences=4, num_evaluation_sequences=4,
    )  # fmt: skip
    splits = build(config, encode, EOT, VOCAB)
    of = [
        {ids.tobytes() for ids in part.ids_ST1}
        for part in (splits.sampling, splits.evaluation, splits.probe)
    ]
    repeated = (of[0] & of[1]) | (of[0] & of[2]) | (of[1] & of[2])
    counts = [splits.reports[name].counts[REPEATED] for name in ("one", "two")]
    assert len(repeated) > 0
    assert sum(counts) >= len(repeated)
