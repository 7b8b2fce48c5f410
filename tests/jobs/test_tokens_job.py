"""`spectro tokens` says on the terminal what a source's reader skipped, cut and replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from spectro.formats import tokens
from spectro.storage.store import Store
from tests.jobs.test_bad_input import arguments, refused  # noqa: F401

Job = Callable[..., int]


def subset_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out = capsys.readouterr().out
    return [line for line in out.splitlines() if line.startswith("subset ")]


def test_what_was_skipped_and_replaced_is_said(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],  # noqa: F811
) -> None:
    """Once, when the source was read; of an addition too; and it is kept with the tokens."""
    folder = tmp_path / "text"
    folder.mkdir()
    documents = "".join(
        json.dumps({"text": "".join(f"document {n}, {k}; " for k in range(14))}) + "\n"
        for n in range(10)
    )
    odd = '{"text": "cut \\ud83d here"}\n{"text": null}\n{"text": ""}\n'
    (folder / "a.jsonl").write_text(documents + odd)
    (folder / "a.jsonl.gz").write_bytes(b"")
    given = [*arguments, "tokens=jsonl", f"tokens.subsets.text.path={folder}"]
    given.remove("tokens=text_folder")
    assert job("tokens", *given) == 0
    said = (
        f"subset text: 12 documents read, 1 compressed copies skipped, 1 lone surrogates replaced "
        f"by U+FFFD, 1 null documents skipped, 1 empty documents skipped; {folder}/a.jsonl.gz was "
        f"taken for a copy of {folder}/a.jsonl"
    )
    assert subset_lines(capsys) == [said]
    store = Store(str(tmp_path / "run"))
    assert f"subset text: {tokens.read_info(store).reports['text'].line}" == said
    (log,) = (name for name in store.list("logs") if name.endswith(".log"))
    assert said in store.read(log).decode()
    assert job("tokens", *given) == 0
    assert subset_lines(capsys) == []
    (folder / "b.ndjson").write_bytes(b"\xef\xbb\xbf" + documents.encode())
    more = f"+more.subsets={{books: {{kind: jsonl, path: '{folder}/b.*'}}}}"
    capsys.readouterr()
    asked = (given[0], "tokens=more", "more.num_probe_sequences=3")
    assert "'text' and 'books' both read" in refused(job, capsys, "tokens", *asked, more)
    other = folder.rename(tmp_path / "other")
    more = more.replace(str(folder), str(other))
    assert job("tokens", *asked, more) == 0
    assert subset_lines(capsys) == [
        "subset books: 10 documents read, 2 other files left, 1 byte-order marks dropped"
    ]
    assert job("verify", given[0]) == 0


def test_a_run_within_its_own_source_is_refused(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],  # noqa: F811
) -> None:
    """Its log and settings would be documents; not so where the pattern leaves them out."""
    (tmp_path / "a.txt").write_text("some text of the source itself, " * 30)
    given = [*arguments, f"tokens.subsets.text.path={tmp_path}"]
    line = refused(job, capsys, "tokens", *given)
    assert f"subset 'text': the folder {tmp_path} holds the run's own folder" in line
    assert not (tmp_path / "run").exists()
    assert job("tokens", *given, "tokens.subsets.text.pattern='**/*.txt'") == 0


def test_a_source_that_is_no_text_is_refused_in_one_line(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],  # noqa: F811
) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a.txt").write_bytes("a text".encode("utf-16-le"))
    line = refused(job, capsys, "tokens", *arguments, f"tokens.subsets.text.path={tmp_path}/text")
    assert f"subset 'text': {tmp_path}/text/a.txt is not text" in line
    assert "is it UTF-16 without a byte-order mark?" in line
    assert not (tmp_path / "run").exists()
