"""The reader of GPT-NeoX memory maps against files written here from the format's description."""

import struct

import numpy as np
import pytest

from spectro.tokens.build import build
from spectro.tokens.config import Items, Source, SourceKind, TokensConfig
from spectro.tokens.sources import memmap, memmap_spans
from spectro.tokens.sources.memmap import open_indexed
from spectro.tokens.sources.memmap_spans import find_spans
from spectro.tokens.sources.source_report import SourceReport
from tests.tokens.byte_tokenizer import encode

CODES = {np.uint8: 1, np.int32: 4, np.int64: 5, np.uint16: 8}


def write_pair(prefix, items, dtype=np.uint16, starts=None, data=None, documents=None):
    """An .idx/.bin pair: magic, version, dtype code, counts, sizes, byte offsets, documents.

    Items follow one another in the data, one document each, unless `starts` (first id of each
    item), `data` (all ids) or `documents` say otherwise.
    """
    sizes = np.array([len(item) for item in items], dtype="<i4")
    if starts is None:
        starts = np.concatenate([[0], np.cumsum(sizes[:-1])])
    if documents is None:
        documents = np.arange(len(items) + 1)
    ids = np.concatenate([np.asarray(item) for item in items]) if data is None else data
    header = b"MMIDIDX\x00\x00" + struct.pack("<QB", 1, CODES[dtype])
    header += struct.pack("<QQ", len(items), len(documents))
    offsets = np.asarray(starts).astype("<i8") * np.dtype(dtype).itemsize
    (prefix.parent / f"{prefix.name}.idx").write_bytes(
        header + sizes.tobytes() + offsets.tobytes() + np.asarray(documents, "<i8").tobytes()
    )
    (prefix.parent / f"{prefix.name}.bin").write_bytes(np.asarray(ids).astype(dtype).tobytes())


def spans_of(path, context, items=Items.SEQUENCES, report=None):
    """All spans of a pair, as lists."""
    found = find_spans(
        open_indexed(str(path)),
        context=context,
        items=items,
        eot_id=0,
        report=SourceReport() if report is None else report,
    )
    return found.read(np.arange(len(found)), vocab_size=250).tolist()


def plain_spans(items, context):
    """The same by the definition, item by item."""
    return [
        list(map(int, item[at : at + context + 1]))
        for item in items
        for at in range(0, len(item) - context, context)
    ]


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
    assert dataset.starts(slice(None)).tolist() == [0, 5, 6, 46, 63]
    assert dataset.doc_idx.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("dtype", list(CODES))
def test_every_width_of_id_is_read(tmp_path, dtype):
    write_pair(tmp_path / "x", [[1, 2, 3], [4, 5]], dtype)
    assert open_indexed(str(tmp_path / "x")).ids.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("context", [4, 8, 16, 39])
def test_spans_stay_inside_their_items(prefix, context):
    path, _, items = prefix
    assert spans_of(path, context) == plain_spans(items, context)


def test_documents_are_joined_in_the_order_of_the_index(tmp_path):
    rng = np.random.default_rng(0)
    items = [rng.integers(1, 250, size=n) for n in (5, 0, 1, 40, 17, 100)]
    data = np.concatenate([items[5], items[3], np.full(9, 7), items[4], items[0], items[2]])
    starts = [166, 0, 171, 100, 149, 0]
    write_pair(tmp_path / "x", items, starts=starts, data=data)
    report = SourceReport()
    joined = np.concatenate(items)
    assert spans_of(tmp_path / "x", 8, Items.DOCUMENTS, report) == plain_spans([joined], 8)
    assert report.counts["ids that no item names"] == 9
    assert report.counts["ids left over at the end of the stream"] == (163 - 1) % 8
    assert "0 of the first 5 documents end with end-of-text (id 0)" in report.notes[1]


def test_only_what_the_index_names_is_read(tmp_path):
    """A filter of documents: those that it leaves out stay in the data."""
    documents = [np.full(21 - k % 2, k) for k in range(12)]
    starts = np.cumsum([0, *map(len, documents)])
    kept = [k for k in range(12) if k % 3]
    write_pair(
        tmp_path / "x",
        [documents[k] for k in kept],
        starts=starts[kept],
        data=np.concatenate(documents),
    )
    for items in Items:
        ids = np.unique(spans_of(tmp_path / "x", 10, items))
        assert set(ids.tolist()) == set(kept)
    report = SourceReport()
    assert len(spans_of(tmp_path / "x", 10, report=report)) == 4 * 2 + 4
    assert report.counts["ids that no item names"] == sum(len(documents[k]) for k in (0, 3, 6, 9))
    assert report.counts["ids left over at the ends of items"] == 4 * 9


@pytest.mark.parametrize("last", [0, 1, 10, 11, 15, 40])
def test_a_ragged_end_changes_nothing_before_it(tmp_path, last):
    """A pre-shuffled file whose last item is of another size: that one gives what it has."""
    items = [np.full(21, i) for i in range(6)] + [np.full(last, 6)]
    write_pair(tmp_path / "x", items)
    report = SourceReport()
    spans = spans_of(tmp_path / "x", 10, report=report)
    assert spans == [[i] * 11 for i in range(6) for _ in range(2)] + [[6] * 11] * ((last - 1) // 10)
    assert report.counts["items too short for a sequence"] == (last < 11)


def test_items_of_the_contexts_length_hold_no_target_for_the_last(tmp_path):
    write_pair(tmp_path / "x", [np.full(16, i) for i in range(4)])
    with pytest.raises(ValueError, match=r"no span of 17 ids: 4 items of 16 ids.*shorter"):
        spans_of(tmp_path / "x", 16)
    assert spans_of(tmp_path / "x", 15) == [[i] * 16 for i in range(4)]


def test_many_items_are_found_block_by_block(tmp_path, monkeypatch):
    """An index is read in blocks: none of their borders may move a span."""
    rng = np.random.default_rng(1)
    items = [rng.integers(0, 250, size=n) for n in rng.integers(0, 30, size=50)]
    write_pair(tmp_path / "x", items)
    whole = {kind: spans_of(tmp_path / "x", 6, kind) for kind in Items}
    for module in (memmap, memmap_spans):
        monkeypatch.setattr(module, "BLOCK_ITEMS", 7)
    assert {kind: spans_of(tmp_path / "x", 6, kind) for kind in Items} == whole
    assert whole[Items.SEQUENCES] == plain_spans(items, 6)
    assert whole[Items.DOCUMENTS] == plain_spans([np.concatenate(items)], 6)


def test_items_in_any_order_give_spans_in_the_order_of_the_index(tmp_path):
    items = [np.full(11, i) for i in range(5)]
    write_pair(
        tmp_path / "x", items, starts=[22, 0, 44, 33, 11], data=np.repeat([1, 4, 0, 3, 2], 11)
    )
    assert spans_of(tmp_path / "x", 5) == [[i] * 6 for i in range(5) for _ in range(2)]


def test_items_that_share_ids_are_refused(tmp_path):
    """Else two splits could hold the same position; the one id at a border is no target twice."""
    stream = np.arange(41)
    write_pair(
        tmp_path / "x", [stream[k : k + 11] for k in (0, 10, 20, 30)], starts=[0, 10, 20, 30],
        data=stream,
    )  # fmt: skip
    assert spans_of(tmp_path / "x", 10) == plain_spans([stream], 10)
    with pytest.raises(ValueError, match="item 1 shares 1 ids"):
        spans_of(tmp_path / "x", 10, Items.DOCUMENTS)
    write_pair(tmp_path / "y", [stream[:20], stream[30:], stream[18:30]], starts=[0, 30, 18],
               data=stream)  # fmt: skip
    with pytest.raises(ValueError, match="item 2 shares 2 ids with another item"):
        spans_of(tmp_path / "y", 10)


def test_the_order_of_a_preshuffled_file_is_that_of_earlier_runs(tmp_path):
    """Taken from the reader before it went by the index."""
    write_pair(tmp_path / "x", [np.full(21, i) for i in range(6)])
    config = TokensConfig(
        subsets={"pile": Source(kind=SourceKind.MEMMAP, path=str(tmp_path / "x"))},
        context=10, num_probe_sequences=4, num_sampling_sequences=3, num_evaluation_sequences=2,
    )  # fmt: skip
    splits = build(config, encode, 0, 257)
    found = [s.ids_ST1[:, 0].tolist() for s in (splits.sampling, splits.evaluation, splits.probe)]
    assert found == [[2, 1, 2], [3, 4], [4, 3, 5, 1]]


def test_build_samples_spans_without_repetition(prefix):
    path, _, items = prefix
    config = TokensConfig(
        subsets={"pile": Source(kind=SourceKind.MEMMAP, path=str(path))},
        context=8,
        num_probe_sequences=7,
        num_sampling_sequences=5,
        num_evaluation_sequences=6,
    )
    splits = build(config, encode, 0, 257)
    drawn = [
        ids.tolist()
        for part in (splits.probe, splits.sampling, splits.evaluation)
        for ids in part.ids_ST1
    ]
    assert sorted(drawn) == sorted(plain_spans(items, 8))


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
        (lambda raw: damaged(raw, 54, b"\x01"), "make no sense"),
        (lambda raw: raw + b"\x00" * 5, "found 5 more"),
        (lambda raw: damaged(raw, 34 + 12 * 5, b"\x01"), "must rise from 0"),
        (lambda raw: damaged(raw, 34 + 12 * 5 + 8, b"\x04"), "must rise from 0"),
        (lambda raw: damaged(raw, len(raw) - 8, b"\x09"), "must rise from 0 to at most 5"),
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


def test_half_an_id_is_refused(prefix):
    path, *_ = prefix
    data = path.parent / "pile.bin"
    data.write_bytes(data.read_bytes() + b"\x00")
    with pytest.raises(ValueError, match="not a whole number of ids of 2 bytes"):
        open_indexed(str(path))


@pytest.mark.parametrize(
    ("said", "is_in_truth", "times"),
    [(np.uint16, np.int32, 2), (np.uint16, np.int64, 4), (np.int32, np.int64, 2)],
)
def test_data_of_wider_ids_than_the_index_says_are_refused(tmp_path, said, is_in_truth, times):
    """Read as the index says, every second id would be 0."""
    items = [np.arange(1, 22)] * 3
    write_pair(tmp_path / "x", items, said)
    (tmp_path / "x.bin").write_bytes(np.concatenate(items).astype(is_in_truth).tobytes())
    with pytest.raises(ValueError, match=rf"x\.bin: .* exactly {times} times .* the dtype code"):
        open_indexed(str(tmp_path / "x"))


def test_a_wrong_dtype_code_beside_right_offsets_is_refused(tmp_path):
    write_pair(tmp_path / "x", [np.arange(1, 22)] * 3, np.int32)
    index = tmp_path / "x.idx"
    index.write_bytes(damaged(index.read_bytes(), 17, bytes([CODES[np.uint16]])))
    with pytest.raises(ValueError, match=r"exactly 2 times .* says that an id has 2 bytes"):
        open_indexed(str(tmp_path / "x"))


def test_a_folder_is_named_as_one(tmp_path):
    write_pair(tmp_path / "x", [np.arange(9)])
    with pytest.raises(FileNotFoundError, match="is a folder: expected the common part of the"):
        open_indexed(str(tmp_path))
    (tmp_path / "y.idx").mkdir()
    with pytest.raises(FileNotFoundError, match=r"y\.idx, found a folder of the name y\.idx"):
        open_indexed(str(tmp_path / "y"))


def test_ids_outside_the_vocabulary_are_refused(prefix):
    path, *_ = prefix
    found = find_spans(
        open_indexed(str(path)), context=8, items=Items.SEQUENCES, eot_id=0, report=SourceReport()
    )
    with pytest.raises(ValueError, match="another model"):
        found.read(np.arange(len(found)), vocab_size=100)
