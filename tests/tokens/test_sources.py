"""Each kind of text source: what it yields, in which order, and how it refuses bad input."""

import gzip
import json
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from spectro.tokens.config import Source, SourceKind
from spectro.tokens.hub import read_hub
from spectro.tokens.jsonl import read_jsonl
from spectro.tokens.parquet import read_parquet
from spectro.tokens.text_folder import read_text_folder

TEXTS = ["first", "second line\nof text", "dritte Zeile: ähm", ""]
LINES = "".join(json.dumps({"text": text, "meta": {"body": text}}) + "\n" for text in TEXTS)


def compressed(name, raw):
    if name.endswith(".zst"):
        return zstandard.compress(raw)
    return gzip.compress(raw) if name.endswith(".gz") else raw


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst", "a.jsonl.gz"])
@pytest.mark.parametrize("field", ["text", "meta.body"])
def test_jsonl_plain_and_compressed(tmp_path, name, field):
    (tmp_path / name).write_bytes(compressed(name, LINES.encode()))
    assert list(read_jsonl(str(tmp_path / name), field)) == TEXTS


def test_zst_of_several_frames_is_read_to_the_end(tmp_path):
    frames = b"".join(zstandard.compress(line.encode()) for line in LINES.splitlines(True))
    (tmp_path / "a.jsonl.zst").write_bytes(frames)
    assert list(read_jsonl(str(tmp_path / "a.jsonl.zst"), "text")) == TEXTS


@pytest.mark.parametrize("suffix", ["", "/*.jsonl", "/?.jsonl"])
def test_jsonl_folders_and_globs_are_read_in_order(tmp_path, suffix):
    for name in "cab":
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": name}) + "\n\n")
    (tmp_path / "notes.md").write_text("not JSON")
    assert list(read_jsonl(f"{tmp_path}{suffix}", "text")) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "raw, message",
    [
        (b'{"text": "a"}\n{"text": ', "line 2: expected a JSON object"),
        (b'{"content": "a"}\n', "expected the field 'text', found content"),
        (b'{"text": 3}\n', "expected text in 'text', found int"),
        (b'["a"]\n', "found list"),
    ],
)
def test_bad_jsonl_names_the_line(tmp_path, raw, message):
    (tmp_path / "a.jsonl").write_bytes(raw)
    with pytest.raises(ValueError, match=message):
        list(read_jsonl(str(tmp_path / "a.jsonl"), "text"))


@pytest.mark.parametrize("change", [lambda raw: raw[:-5], lambda raw: b"plain" + raw])
@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.jsonl.gz"])
def test_cut_or_damaged_compression_is_an_error(tmp_path, name, change):
    (tmp_path / name).write_bytes(change(compressed(name, LINES.encode() * 50)))
    with pytest.raises(ValueError, match="damaged or cut short"):
        list(read_jsonl(str(tmp_path / name), "text"))


def test_bad_utf8_is_replaced_and_counted(tmp_path, caplog):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "caf\xe9"}\n')
    with caplog.at_level(logging.WARNING):
        assert list(read_jsonl(str(tmp_path / "a.jsonl"), "text")) == ["caf\ufffd"]
    assert "1 characters are not UTF-8" in caplog.text


def test_replacement_characters_of_the_text_itself_are_not_counted(tmp_path, caplog):
    (tmp_path / "a.txt").write_text("a \ufffd b")
    assert list(read_text_folder(str(tmp_path), "**/*")) == ["a \ufffd b"]
    assert not caplog.records


def test_text_folder_is_read_in_order_of_paths(tmp_path):
    (tmp_path / "b").mkdir()
    for name, text in {"c.txt": "3", "a.txt": "1", "b/x.md": "2"}.items():
        (tmp_path / name).write_text(text)
    assert list(read_text_folder(str(tmp_path), "**/*")) == ["1", "2", "3"]
    assert list(read_text_folder(str(tmp_path), "**/*.md")) == ["2"]


@pytest.mark.parametrize("read", [read_jsonl, read_parquet, read_text_folder])
@pytest.mark.parametrize("where", ["absent", "", "absent/*.x"])
def test_missing_and_empty_folders(tmp_path, read, where):
    with pytest.raises(FileNotFoundError, match=r"found none|no file"):
        list(read(str(tmp_path / where), "text"))


def test_parquet_rows_nulls_and_nested_fields(tmp_path):
    table = pa.table({"text": [*TEXTS, None], "meta": [{"body": text} for text in [*TEXTS, "z"]]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    assert list(read_parquet(str(tmp_path), "text")) == TEXTS
    assert list(read_parquet(str(tmp_path), "meta.body")) == [*TEXTS, "z"]


@pytest.mark.parametrize(
    "field, message",
    [("body", "found text, n"), ("n", "found int64"), ("text.x", "found text: string")],
)
def test_bad_parquet_fields(tmp_path, field, message):
    pq.write_table(pa.table({"text": ["a"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
        list(read_parquet(str(tmp_path / "a.parquet"), field))


@pytest.mark.parametrize("raw", [b"", b"PAR1 this is no table PAR1"])
def test_damaged_parquet(tmp_path, raw):
    (tmp_path / "a.parquet").write_bytes(raw)
    with pytest.raises(ValueError, match="expected a Parquet file"):
        list(read_parquet(str(tmp_path / "a.parquet"), "text"))


@pytest.fixture
def local_dataset(tmp_path, monkeypatch):
    """A dataset folder that `datasets` opens by name without the network."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "dataset"
    folder.mkdir()
    pq.write_table(pa.table({"text": TEXTS}), folder / "train.parquet")
    return str(folder)


def test_hub_streams_a_dataset(local_dataset):
    source = Source(kind=SourceKind.HUB, name=local_dataset)
    assert list(read_hub(source)) == TEXTS


@pytest.mark.parametrize(
    "change, message",
    [
        ({"hub_split": "absent"}, "split absent\\) cannot be read"),
        ({"field": "body"}, "expected the field 'body', found text"),
        ({"name": "/no/such/dataset"}, "cannot be read"),
    ],
)
def test_hub_says_in_one_line_what_is_missing(local_dataset, change, message):
    source = Source(**{"kind": SourceKind.HUB, "name": local_dataset, **change})
    with pytest.raises(ValueError, match=message) as caught:
        list(read_hub(source))
    assert "\n" not in str(caught.value)
