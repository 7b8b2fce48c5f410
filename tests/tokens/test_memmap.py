"""The reader of GPT-NeoX memory maps against files written here from the format's description."""

import struct

import numpy as np
import pytest

from spectro.tokens.build import build
from spectro.tokens.config import Source, SourceKind, TokensConfig
from spectro.tokens.memmap import open_indexed, read_spans, span_starts
from tests.tokens.byte_tokenizer import encode

CODES = {np.uint8: 1, np.int32: 4, np.int64: 5, np.uint16: 8}


def write_pair(prefix, items, dtype=np.uint16):
    """An .idx/.bin pair: magic, version, dtype code, counts, sizes, byte offsets, documents."""
    sizes = np.array([len(item) for item in items], dtype="<i4")
    offsets = np.concatenate([[0], np.cumsum(sizes[:-1])]).astype("<i8") * np.dtype(dtype).itemsize
    header = b"MMIDIDX\x00\x00" + struct.pack("<QB", 1, CODES[dtype])
    header += struct.pack("<QQ", len(items), len(items) + 1)
    documents = np.arange(len(items) + 1, dtype="<i8")
    (prefix.parent / f"{prefix.name}.idx").write_bytes(
        header + sizes.tobytes() + offsets.tobytes() + documents.tobytes()
    )
    ids = np.concatenate([np.asarray(item) for item in items])
    (prefix.parent / f"{prefix.name}.bin").write_bytes(ids.astype(dtype).tobytes())


@pytest.fixture
def prefix(tmp_path):
    rng = np.random.default_rng(0)
    items = [rng.integers(0, 250, size=n) for n in (5, 1, 40, 17, 100)]
    write_pair(tmp_path / "pile", items)
    return tmp_path / "pile", np.concatenate(items), items


@pytest.mark.parametrize("ending", ["", ".bin", ".idx"])
def test_ids_sizes_and_documents_are_read(prefix, ending):
    path, stream, items = prefix
    dataset = open_indexed(f"{path}{ending}")
    assert np.array_equal(dataset.ids, stream)
    assert dataset.sizes.tolist() == [len(item) for item in items]
    assert dataset.starts.tolist() == [0, 5, 6, 46, 63]
    assert dataset.doc_idx.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("dtype", list(CODES))
def test_every_width_of_id_is_read(tmp_path, dtype):
    write_pair(tmp_path / "x", [[1, 2, 3], [4, 5]], dtype)
    assert open_indexed(str(tmp_path / "x")).ids.tolist() == [1, 2, 3, 4, 5]


def test_spans_follow_the_stream(prefix):
    path, stream, _ = prefix
    dataset = open_indexed(str(path))
    starts = span_starts(dataset, 8)
    spans = read_spans(dataset, starts, context=8, vocab_size=250)
    assert len(starts) == (len(stream) - 1) // 8
    for i, span in enumerate(spans):
        assert span.tolist() == stream[8 * i : 8 * i + 9].tolist()


def test_spans_of_a_preshuffled_file_stay_inside_their_item(tmp_path):
    write_pair(tmp_path / "x", [np.full(21, i) for i in range(6)])
    dataset = open_indexed(str(tmp_path / "x"))
    spans = read_spans(dataset, span_starts(dataset, 10), context=10, vocab_size=250)
    assert spans.shape == (12, 11)
    assert (spans == spans[:, :1]).all()


def test_build_samples_spans_without_repetition(prefix):
    path, stream, _ = prefix
    config = TokensConfig(
        subsets={"pile": Source(kind=SourceKind.MEMMAP, path=str(path))},
        context=8,
        num_probe_sequences=7,
        num_sampling_sequences=8,
        num_evaluation_sequences=5,
    )
    splits = build(config, encode, 0, 257)
    drawn = [
        ids.tolist()
        for part in (splits.probe, splits.sampling, splits.evaluation)
        for ids in part.ids_ST1
    ]
    assert sorted(drawn) == sorted(stream[8 * i : 8 * i + 9].tolist() for i in range(20))


@pytest.mark.parametrize("ending", [".bin", ".idx"])
def test_a_missing_half_is_named(prefix, ending):
    path, *_ = prefix
    (path.parent / f"pile{ending}").unlink()
    with pytest.raises(FileNotFoundError, match=f"pile{ending}"):
        open_indexed(str(path))


def damaged(raw, at, value):
    return raw[:at] + value + raw[at + len(value) :]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda raw: b"", "begins with MMIDIDX"),
        (lambda raw: b"version https://git-lfs.github.com/spec/v1\n" * 4, "Git LFS"),
        (lambda raw: damaged(raw, 9, b"\x02"), "version 1"),
        (lambda raw: damaged(raw, 17, b"\x63"), "dtype code 99"),
        (lambda raw: raw[:60], "cut short"),
        (lambda raw: damaged(raw, 34, b"\xff\xff\xff\xff"), "make no sense"),
    ],
)
def test_a_damaged_index_is_refused(prefix, change, message):
    path, *_ = prefix
    index = path.parent / "pile.idx"
    index.write_bytes(change(index.read_bytes()))
    with pytest.raises(ValueError, match=message):
        open_indexed(str(path))


def test_cut_data_are_refused(prefix):
    path, *_ = prefix
    data = path.parent / "pile.bin"
    data.write_bytes(data.read_bytes()[:-3])
    with pytest.raises(ValueError, match="download incomplete"):
        open_indexed(str(path))


def test_ids_outside_the_vocabulary_are_refused(prefix):
    path, *_ = prefix
    dataset = open_indexed(str(path))
    with pytest.raises(ValueError, match="another model"):
        read_spans(dataset, span_starts(dataset, 8), context=8, vocab_size=100)
