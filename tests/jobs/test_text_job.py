"""`spectro text`: pages and figures of a real run, and one line for what cannot be."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from spectro.formats.chain_records import drop_draws
from spectro.pipeline.run import Goal, run_pipeline
from spectro.storage.store import Store
from spectro.work.progress import Progress

Job = Callable[..., int]
HEADS = {".html": b"<!doctype html>", ".svg": b"<?xml", ".pdf": b"%PDF-", ".png": b"\x89PNG"}


@pytest.fixture
def run_uri(make_config, tmp_path: Path) -> str:
    config = make_config(tmp_path / "run=1")  # a name that a setting could be taken for
    run_pipeline(config, Progress(), goal=Goal.SAMPLE)
    return config.run.uri


def test_pages_and_figures(job: Job, run_uri: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "a text.txt").write_bytes(
        "Once, twice\n\ttrois fois é \ud83d".encode("utf-8", "ignore")
    )
    place = f"run.uri='{run_uri}'"
    for suffix, head in HEADS.items():
        out = tmp_path / f"sequence{suffix}"
        assert job("text", place, "sequence=3", f"out={out}", "theme=dark") == 0
        assert out.read_bytes().startswith(head)
        assert str(out) in capsys.readouterr().out
    before = Store(run_uri).list()
    wanted = ["file='a text.txt'", "components=['l1h*',embed]", "scale=raw", "colours=orange_blue"]
    assert job("text", place, *wanted) == 0
    said = capsys.readouterr().out
    assert (
        "to measure: 26 tokens in 2 contexts along 24 draws of embed, l1h0, l1h1 and full" in said
    )
    assert said.index("to measure") < said.index("text.html")
    page = (tmp_path / "text.html").read_text()
    assert '"components":["l1h0","l1h1","embed"]' in page and '"scale":"raw"' in page
    assert Store(run_uri).list() == before
    first = (tmp_path / "text.html").read_bytes()
    assert job("text", place, *wanted) == 0
    assert (tmp_path / "text.html").read_bytes() == first


FILES = {
    "empty.txt": (b"", "is empty: a text needs at least two tokens"),
    "one.txt": (b"a", "one.txt has 1 tokens"),
    "zero.bin": (b"some\0bytes", "is not text: 1 of its 10 bytes are zero"),
    "other.bin": (bytes(range(128, 256)), "is not UTF-8 text: 128 of 128 characters"),
    "cut.txt": (gzip.compress(b"a text", mtime=0)[:-3], "cut.txt: expected gzip, found"),
    "wide.txt": ("a text".encode("utf-16-le"), "is it UTF-16 without a byte-order mark"),
    "long.txt": (b"a long text " * 10, "has 120 tokens, max_tokens is 100"),
}
SETTINGS = {
    "nothing of that name": (["components=[l9h9]"], "'l9h9' selects nothing"),
    "not measured": (["components=[l0h0]"], "'l0h0' selects nothing: the run measured 6"),
    "no such sequence": (["sequence=12"], "no sequence 12: its ids are 0 to 11"),
    "two texts": (["sequence=1", "file=a.txt"], "give one of them"),
    "no such format": (["out=text.docx"], "out must end in .html or .svg, .pdf, .png"),
    "no such folder": (["out=nowhere/text.html"], "nowhere"),
    "no such theme": (["theme=blue"], "theme must be one of light, dark"),
    "no such scale": (["scale=log"], "scale must be one of standardised, centred, raw"),
    "no such file": (["file=gone.txt"], "gone.txt"),
    "a folder": (["file=."], "is a folder: give a file of text"),
}


def test_what_cannot_be_is_one_line_and_status_2(
    job: Job, run_uri: str, tmp_path: Path, capsys
) -> None:
    place = f"run.uri='{run_uri}'"
    for name, (data, _) in FILES.items():
        (tmp_path / name).write_bytes(data)
    calls = [([f"file={name}", "max_tokens=100"], said) for name, (_, said) in FILES.items()]
    for arguments, said in [*calls, *SETTINGS.values()]:
        capsys.readouterr()
        assert job("text", place, *arguments) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, arguments
    drop_draws(Store(run_uri))
    (tmp_path / "a.txt").write_text("a text")
    assert job("text", place, "file=a.txt") == 2
    error = capsys.readouterr().err
    assert re.search(r"the draws of \w+ were removed", error)  # of whichever is looked for first
    assert error.count("\n") == 1
    assert not (tmp_path / "text.html").exists()


def test_a_scale_that_it_cannot_have_is_refused_before_it_is_measured(
    job: Job, run_uri: str, tmp_path: Path, capsys
) -> None:
    (tmp_path / "a.txt").write_text("a text")
    wanted = [f"run.uri='{run_uri}'", "file=a.txt", "scale=centred"]
    assert job("text", *wanted) == 2
    told = capsys.readouterr()
    assert "components=['*']" in told.err and "to measure" not in told.out
    assert job("text", *wanted, "components=['*']") == 0


def test_a_file_whose_name_is_no_utf8(job: Job, run_uri: str, tmp_path: Path) -> None:
    name = os.fsdecode(b"a\xff.txt")
    (tmp_path / name).write_text("a text")
    assert job("text", f"run.uri='{run_uri}'", f"file='{name}'") == 0
    assert "<title>a⟨FF⟩.txt · spectro" in (tmp_path / "text.html").read_text(encoding="utf-8")


def test_a_file_is_read_as_the_run_s_sources_are(
    job: Job, run_uri: str, tmp_path: Path, capsys
) -> None:
    """The same page whatever the form of the file; what was mended is said before the cost."""
    text = "Once, twice\n\ttrois fois é"
    pages = {}
    for name, data, said in (
        ("plain", text.encode(), ""),
        ("marked", b"\xef\xbb\xbf" + text.encode(), "a.txt: 1 byte-order marks dropped"),
        ("wide", text.encode("utf-16"), "a.txt: 1 files read as UTF-16"),
        ("gzip", gzip.compress(text.encode(), mtime=0), ""),
    ):
        (tmp_path / "a.txt").write_bytes(data)
        capsys.readouterr()
        assert job("text", f"run.uri='{run_uri}'", "file=a.txt") == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == said or (not said and lines[0].startswith("to measure: 25 tokens"))
        pages[name] = (tmp_path / "text.html").read_bytes()
    assert len(set(pages.values())) == 1


def test_help_says_how(job: Job, capsys) -> None:
    assert job("text", "--help") == 0
    said = capsys.readouterr().out
    assert "usage: spectro text <run> [<file>" in said and "the run is not changed" in said
    assert re.search(r"max_tokens +int +8192", said)
