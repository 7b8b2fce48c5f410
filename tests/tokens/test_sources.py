"""Each kind of text source: what it yields, in which order, and how it refuses bad input."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from spectro.tokens.config import Source, SourceKind
from spectro.tokens.sources.hub import read_hub
from spectro.tokens.sources.jsonl import read_jsonl
from spectro.tokens.sources.parquet import read_parquet
from spectro.tokens.sources.source_report import SourceReport
from spectro.tokens.sources.text_folder import read_text_folder

TEXTS = ["first", "second line\nof text", "dritte Zeile: ähm", ""]
LINES = "".join(json.dumps({"text": text, "meta": {"body": text}}) + "\n" for text in TEXTS)


def compressed(name, raw):
    if name.endswith(".zst"):
        return zstandard.compress(raw)
    return gzip.compress(raw, mtime=0) if name.endswith(".gz") else raw


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
        (b'["a"]\n', "line 1: expected a JSON object, found list: is it a JSON array"),
        (b'[\n{"text": "a"},\n', "line 1: expected a JSON object .* is it a JSON array"),
        (b'[{"text": "a"},\n', "is it a JSON array"),
        (b'{\n  "text": "a"\n}\n', "line 1: .* does not end there: is it indented JSON"),
        (b'{"text": "a",\n', "does not end there: is it indented JSON, or is it cut short"),
        (b'{"text": "a"}{"text": "b"}\n', r"line 1: .* \(Extra data\)"),
        (b"{'text': 'a'}\n", "line 1: expected a JSON object on one line"),
        (b'{"text": "a", "text": "b"}\n', "line 1: found the field 'text' 2 times"),
        (b'{"text": {"x": "a"}}\n', "expected text in 'text', found dict"),
        (b'{"text": NaN}\n', "expected text in 'text', found NaN"),
        (b"null\n", "expected a JSON object, found NoneType"),
        (b'{"text": "a"}\n{}\n', "line 2: expected the field 'text', found no field"),
        (b'{"text": "a\x00b"}\n', "line 1 is not text: 1 of its 16 bytes are zero"),
        (b'{"text": "a", "n": ' + b"[" * 100_000 + b"\n", "line 1: expected a JSON object"),
        (b'{"text": "a", "n": ' + b"9" * 5000 + b"}\n", "line 1: expected a JSON object"),
        (gzip.compress(b'{"text": 3}\n', mtime=0), "line 1: expected text in 'text', found int"),
    ],
)
def test_bad_jsonl_names_the_line(tmp_path, raw, message):
    (tmp_path / "a.jsonl").write_bytes(raw)
    with pytest.raises(ValueError, match=message):
        list(read_jsonl(str(tmp_path / "a.jsonl"), "text"))


@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.jsonl.gz"])
def test_cut_or_damaged_compression_is_an_error(tmp_path, name):
    raw = compressed(name, LINES.encode() * 50)
    for bad, message in ((raw[:-5], "damaged or cut short"), (b"plain" + raw, "is not text")):
        (tmp_path / name).write_bytes(bad)
        with pytest.raises(ValueError, match=message):
            list(read_jsonl(str(tmp_path / name), "text"))


def test_files_are_decompressed_by_content_in_a_folder_too(tmp_path):
    for name, raw in {
        "a.jsonl": gzip.compress(LINES.encode(), mtime=0),
        "b.jsonl.zst": LINES.encode(),
        "c.ndjson": zstandard.compress(LINES.encode()),
        "d.JSONL.GZ": LINES.encode("utf-16"),
    }.items():
        (tmp_path / name).write_bytes(raw)
    report = SourceReport()
    assert list(read_jsonl(str(tmp_path), "text", report)) == TEXTS * 4
    assert report.line == "1 files read as UTF-16"


def test_what_jsonl_skips_and_replaces_is_counted(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(
        b'\xef\xbb\xbf{"text": "caf\xe9"}\r\n\n  \n{"text": null}\n'
        b'{"text": "cut \\ud83d here"}\n{"text": "a \\u0000 b", "n": NaN, "n": 1}\n'
        b'{"text": "\\ufeffmarked"}\n{"text": "\xe2\x80\xa8"}\n{"text": ""}\n'
    )
    (tmp_path / "b.jsonl").write_bytes(b"")
    report = SourceReport()
    assert list(read_jsonl(str(tmp_path), "text", report)) == [
        "caf\ufffd", "cut \ufffd here", "a \ufffd b", "marked", "\u2028", "",
    ]  # fmt: skip
    assert dict(report.counts) == {
        "byte-order marks dropped": 2,
        "characters not in UTF-8 replaced by U+FFFD": 1,
        "empty lines skipped": 2,
        "null documents skipped": 1,
        "lone surrogates replaced by U+FFFD": 1,
        "NUL characters replaced by U+FFFD": 1,
        "empty files": 1,
    }


@pytest.mark.parametrize(
    "record, texts",
    [
        ({"a.b": "name", "a": {"b": "nested"}}, ["name"]),
        ({"a": {"b": "nested", "c": 1}}, ["nested"]),
        ({"a": None}, []),
        ({"a": {"b": None}}, []),
    ],
)
def test_a_dotted_field_is_a_name_first(tmp_path, record, texts):
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    assert list(read_jsonl(str(tmp_path / "a.jsonl"), "a.b")) == texts
    pq.write_table(pa.Table.from_pylist([record, {"a": {"b": "last"}}]), tmp_path / "a.parquet")
    named = list(read_parquet(str(tmp_path / "a.parquet"), "a.b"))
    assert named == (texts if "a.b" in record else [*texts, "last"])


def test_a_text_folder_takes_each_file_as_text_whatever_its_form(tmp_path):
    for name, raw in {
        "a.txt": b"\xef\xbb\xbfa", "b.txt.gz": gzip.compress(b"b", mtime=0),
        "c.txt": "c".encode("utf-16"),
        "d.txt": b"", "e.txt": b"a \xef\xbf\xbd b",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(raw)
    report = SourceReport()
    texts = list(read_text_folder(str(tmp_path), "**/*", report))
    assert texts == ["a", "b", "c", "", "a \ufffd b"]
    assert report.line == "1 byte-order marks dropped, 1 files read as UTF-16"
    (tmp_path / "f.bin").write_bytes(b"\0\1")
    with pytest.raises(ValueError, match=r"f\.bin is not text: 1 of its 2 bytes are zero"):
        list(read_text_folder(str(tmp_path), "**/*"))


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


DICTIONARY = pa.dictionary(pa.int32(), pa.string())


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(), pa.large_string(), pa.string_view(), DICTIONARY,
        pa.dictionary(pa.int8(), pa.large_string()), pa.binary(), pa.large_binary(),
        pa.binary_view(), pa.dictionary(pa.int16(), pa.binary()),
    ],
    ids=str,
)  # fmt: skip
def test_every_type_of_text_in_parquet(tmp_path, kind):
    """Also where a row group's dictionary is another one's."""
    texts = [f"é {n % 7}" if n % 5 else None for n in range(600)]
    flat = pa.chunked_array(
        [pa.array(texts[:300]).cast(kind), pa.array(texts[300:]).cast(kind)], type=kind
    )
    pq.write_table(pa.table({"text": flat}), tmp_path / "a.parquet", row_group_size=300)
    report = SourceReport()
    found = list(read_parquet(str(tmp_path / "a.parquet"), "text", report))
    assert found == [text for text in texts if text is not None]
    assert report.line == "120 null documents skipped"


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), DICTIONARY], ids=str)
def test_text_within_structs_of_parquet(tmp_path, kind):
    """A null anywhere on the way is a null, whatever its child has there."""
    child = pa.array(["a", None, "hidden", "d", "e", "f"]).cast(kind)
    inner = pa.StructArray.from_arrays(
        [child], ["b.c"], mask=pa.array([False, False, True, False, False, False])
    )
    outer = pa.StructArray.from_arrays(
        [inner], ["a"], mask=pa.array([False, False, False, True, False, False])
    )
    pq.write_table(pa.table({"x": outer}), tmp_path / "a.parquet", row_group_size=2)
    report = SourceReport()
    assert list(read_parquet(str(tmp_path), "x.a.b.c", report)) == ["a", "e", "f"]
    assert report.line == "3 null documents skipped"


def test_files_of_different_types_and_hive_folders(tmp_path):
    kinds = {
        "day=1": pa.string(),
        "day=2": pa.large_string(),
        "day=3": pa.null(),
        "day=4": DICTIONARY,
    }
    for day, kind in kinds.items():
        (tmp_path / day).mkdir()
        texts = [None if kind == pa.null() else day] * 2
        pq.write_table(pa.table({"text": pa.array(texts).cast(kind)}), tmp_path / day / "a.parquet")
    (tmp_path / "_SUCCESS").touch()
    report = SourceReport()
    assert list(read_parquet(str(tmp_path), "text", report)) == [
        "day=1", "day=1", "day=2", "day=2", "day=4", "day=4",
    ]  # fmt: skip
    assert report.line == "1 hidden or cache files skipped, 2 null documents skipped"


def test_strings_of_parquet_that_are_no_utf8_or_hold_nul(tmp_path):
    raw = ["a longer text with é".encode("latin-1"), b"a zero \0 in a string", b"\xef\xbb\xbfc"]
    text = pa.array(raw).view(pa.string())  # not checked by Arrow
    pq.write_table(pa.table({"text": text, "raw": raw}), tmp_path / "a.parquet")
    report = SourceReport()
    assert list(read_parquet(str(tmp_path), "text", report)) == [
        "a longer text with \ufffd", "a zero \ufffd in a string", "c",
    ]  # fmt: skip
    assert dict(report.counts) == {
        "characters not in UTF-8 replaced by U+FFFD": 1,
        "NUL characters replaced by U+FFFD": 1,
        "byte-order marks dropped": 1,
    }
    with pytest.raises(
        ValueError, match=r"a\.parquet, row 2 is not text: 1 of its 20 bytes are zero"
    ):
        list(read_parquet(str(tmp_path), "raw"))


@pytest.mark.parametrize(
    "field, message",
    [
        ("body", "found text, n, many"),
        ("n", "found int64"),
        ("text.x", "found text: string"),
        ("many", "expected text in 'many', found list"),
        ("many.x", "found many: list"),
    ],
)
def test_bad_parquet_fields(tmp_path, field, message):
    table = pa.table({"text": ["a"], "n": [1], "many": [["a", "b"]]})
    pq.write_table(table, tmp_path / "a.parquet")
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


def test_hub_counts_nulls_and_replaces_what_is_no_text(local_dataset, tmp_path):
    lines = ['{"x": null}', '{"x": {"text": "a zero \\u0000 in a string"}}', '{"x": {"text": "b"}}']
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines/train.jsonl").write_text("\n".join(lines) + "\n")
    source = Source(kind=SourceKind.HUB, name=str(tmp_path / "lines"), field="x.text")
    report = SourceReport()
    assert list(read_hub(source, report)) == ["a zero \ufffd in a string", "b"]
    assert report.line == "1 null documents skipped, 1 NUL characters replaced by U+FFFD"


def test_hub_streams_a_dataset(local_dataset):
    source = Source(kind=SourceKind.HUB, name=local_dataset)
    assert list(read_hub(source)) == TEXTS


@pytest.mark.parametrize(
    "change, message",
    [
        ({"hub_revision": "v2"}, "is a local folder, which has no revisions"),
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
