"""What config, tokenizer and headers can say is said before anything is written: status 2."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.jobs.test_bad_input import Job, arguments, contents, copy_of, refused
from tests.report.made_tokenizers import END
from tests.tokens.test_memmap import write_pair

__all__ = ["arguments"]
Make = Callable[[Path], None]


def other_field(path: Path) -> None:
    path.write_text(json.dumps({"content": "a"}) + "\n")


def no_json(path: Path) -> None:
    path.write_text("a,b\n1,2\n")


def nothing(path: Path) -> None:
    path.write_text("\n\n")


def no_parquet(path: Path) -> None:
    path.write_text("PAR2")


def other_column(path: Path) -> None:
    pq.write_table(pa.table({"content": ["a"]}), path)


def numbers(path: Path) -> None:
    pq.write_table(pa.table({"text": [1]}), path)


def empty_folder(path: Path) -> None:
    path.mkdir()


def cut_index(path: Path) -> None:
    write_pair(path, [np.arange(9)] * 20)
    index = path.with_name("source.idx")
    index.write_bytes(index.read_bytes()[:-3])


def cut_data(path: Path) -> None:
    write_pair(path, [np.arange(9)] * 20)
    data = path.with_name("source.bin")
    data.write_bytes(data.read_bytes()[:-3])


def short_items(path: Path) -> None:
    write_pair(path, [np.arange(8)] * 20)


def few_items(path: Path) -> None:
    write_pair(path, [np.arange(9)] * 11)


def foreign_ids(path: Path) -> None:
    write_pair(path, [np.arange(9) + 60_000] * 20)


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        ("jsonl", other_field, "source, line 1: expected the field 'text', found content"),
        ("jsonl", no_json, "line 1: expected a JSON object"),
        ("jsonl", nothing, "holds no document"),
        ("jsonl", empty_folder, "found none"),
        ("parquet", no_parquet, "expected a Parquet file"),
        ("parquet", other_column, "expected the field 'text', found content"),
        ("parquet", numbers, "expected text in 'text', found int64"),
        ("text_folder", empty_folder, "no file matches"),
        ("text_folder", nothing, "expected a folder"),
        ("memmap", cut_index, "is the file cut short?"),
        ("memmap", cut_data, "is the download incomplete?"),
        ("memmap", short_items, "no span of 9 ids: 20 items of 8 ids"),
        ("memmap", foreign_ids, "found ids from 60000 to 60008, the model's vocabulary is 0 to"),
        ("memmap", empty_folder, "source is a folder: expected the common part"),
        ("memmap", few_items, "needs 16 sequences of 9 ids, found 11"),
    ],
)
def test_sources_that_cannot_be_read(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    kind: str,
    make: Make,
    message: str,
) -> None:
    make(tmp_path / "source")
    config = "pythia_pretokenised" if kind == "memmap" else kind
    subset = "pile" if kind == "memmap" else "text"
    given = [a for a in arguments if not a.startswith(("tokens=", "tokens.subsets"))]
    given += [f"tokens={config}", f"tokens.subsets.{subset}.path={tmp_path / 'source'}"]
    line = refused(job, capsys, "tokens", *given)
    assert f"subset {subset!r}" in line
    assert message in line
    assert not (tmp_path / "run").exists()


def test_two_subsets_of_one_folder(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    own = next(a.split("=", 1)[1] for a in arguments if a.startswith("tokens.subsets.text.path="))
    again = f"+tokens.subsets={{again: {{kind: text_folder, path: '{own}/.'}}}}"
    line = refused(job, capsys, "tokens", *arguments, again)
    assert "subsets 'text' and 'again' both read" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("below", ["", "run"])
def test_a_file_in_the_place_of_the_run(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], below: str
) -> None:
    (tmp_path / "run").write_text("mine")
    line = refused(job, capsys, "tokens", *arguments, f"run.uri={tmp_path / 'run' / below}")
    assert f"{tmp_path / 'run'} is a file: expected a folder" in line
    assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written_to(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    line = refused(job, capsys, "tokens", *arguments, f"run.uri={tmp_path / 'shut' / 'run'}")
    assert "cannot be written to by this user" in line


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["components=[l0h1]"], "needs at least 2 columns, found l0h1 alone"),
        (["cluster.num_neighbours=48"], "needs more than 48 tokens, found 48"),
        (["chain.num_chains=1", "cluster.min_reliability=0.5"], "need two chains, found"),
        (["chain.num_chains=1", "cluster.weigh_by_reliability=true"], "need two chains, found"),
        (
            ["run.keep_halves=false", "cluster.preprocess=whiten", "cluster.whiten_reliability=0"],
            "run.keep_halves=true",
        ),
    ],
)
def test_clusters_that_cannot_be_found(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    extra: list[str],
    message: str,
) -> None:
    assert message in refused(job, capsys, "pipeline", *arguments, *extra)
    assert not (tmp_path / "run").exists()


def with_tokenizer(model: Path, tmp_path: Path, **fields: str) -> Path:
    """A copy of a model whose tokenizer has further tokens."""
    folder = copy_of(model, tmp_path)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_special_tokens(fields)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"eos_token": "</s>"}, "has the end-of-text '</s>' with id 257, but the model's vocabu"),
        ({"pad_token": "<pad>"}, "has 1 ids beyond the model's vocabulary of 257, such as '<pad>'"),
    ],
)
def test_tokenizers_beyond_the_vocabulary(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tiny_model_dir: Path,
    arguments: list[str],
    fields: dict[str, str],
    message: str,
) -> None:
    folder = with_tokenizer(tiny_model_dir, tmp_path, **fields)
    line = refused(job, capsys, "sample", *arguments, f"model.name_or_path={folder}")
    assert message in line
    assert str(folder) in line
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_that_does_not_know_the_text(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tiny_model_dir: Path,
    arguments: list[str],
) -> None:
    """Nothing but `return` is in its vocabulary; the text is code in functions of a line."""
    folder = copy_of(tiny_model_dir, tmp_path)
    made = Tokenizer(models.WordLevel({"[UNK]": 0, "return": 1, END: 2}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END).save_pretrained(folder)
    line = refused(job, capsys, "tokens", *arguments, f"model.name_or_path={folder}")
    assert f"subset 'text': the tokenizer of '{folder}' has no tokens for" in line
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_without_its_sources(
    job: Job, tmp_path: Path, text_dir: Path, arguments: list[str]
) -> None:
    """Once its tokens are there nothing else is read of them."""
    shutil.copytree(text_dir / "code", tmp_path / "code")
    given = [*arguments, f"tokens.subsets.text.path={tmp_path / 'code'}"]
    assert job("tokens", *given) == 0
    shutil.rmtree(tmp_path / "code")
    assert job("sample", *given) == 0
    assert "susceptibilities/part-00000.parquet" in contents(tmp_path / "run")
