"""Reader of GPT-NeoX / Megatron indexed datasets, `MMIDIDX` version 1: Pythia's training data.

`<prefix>.idx`, little-endian: magic b"MMIDIDX\\0\\0" (9 bytes), version u64 = 1, dtype code u8,
number of items u64, number of documents u64, item sizes i32 [items], item offsets in bytes
i64 [items], first item of each document i64 [documents]. `<prefix>.bin` holds the ids alone.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectro.tokens.packing import num_samples

MAGIC = b"MMIDIDX\x00\x00"
_HEADER_BYTES = len(MAGIC) + 8 + 1 + 8 + 8
_DTYPES: dict[int, type[np.integer]] = {
    1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 8: np.uint16,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class IndexedDataset:
    """A pair of files, mapped, not read."""

    ids: NDArray[np.integer]
    """All ids of the `.bin` file, [num_ids], a memory map."""
    sizes: NDArray[np.int32]
    """Ids per item, int32 [items]."""
    starts: NDArray[np.int64]
    """First id of each item, int64 [items], in ids, not bytes."""
    doc_idx: NDArray[np.int64]
    """First item of each document, int64 [documents]."""


def _prefix(path: str) -> Path:
    return Path(path.removesuffix(".bin").removesuffix(".idx"))


def open_indexed(path: str) -> IndexedDataset:
    """Map `<path>.bin` and `<path>.idx`.

    Raises FileNotFoundError for a missing file, ValueError for a foreign, damaged or cut one.
    """
    index_path, data_path = (Path(f"{_prefix(path)}{end}") for end in (".idx", ".bin"))
    for file in (index_path, data_path):
        if not file.is_file():
            raise FileNotFoundError(f"memmap source: expected the file {file}, found none")
    raw = index_path.read_bytes()
    dtype, num_items, num_docs = _header(index_path, raw)
    expected = _HEADER_BYTES + num_items * (4 + 8) + num_docs * 8
    if len(raw) < expected:
        raise ValueError(
            f"{index_path}: expected {expected} bytes for {num_items} items, found {len(raw)}: "
            "is the file cut short?"
        )
    sizes = np.frombuffer(raw, "<i4", num_items, _HEADER_BYTES)
    offsets = np.frombuffer(raw, "<i8", num_items, _HEADER_BYTES + 4 * num_items)
    doc_idx = np.frombuffer(raw, "<i8", num_docs, _HEADER_BYTES + 12 * num_items)
    width = np.dtype(dtype).itemsize
    if num_items == 0:
        raise ValueError(f"{index_path}: holds no item")
    if (offsets % width).any() or (offsets < 0).any() or (sizes < 0).any():
        raise ValueError(f"{index_path}: offsets and sizes make no sense: is the file damaged?")
    needed = int((offsets + sizes.astype(np.int64) * width).max())
    found = data_path.stat().st_size
    if found < needed:
        raise ValueError(
            f"{data_path}: expected {needed} bytes, found {found}: is the download incomplete?"
        )
    ids = np.memmap(
        data_path, dtype=np.dtype(dtype).newbyteorder("<"), mode="r", shape=(needed // width,)
    )
    return IndexedDataset(ids=ids, sizes=sizes, starts=offsets // width, doc_idx=doc_idx)


def _header(path: Path, raw: bytes) -> tuple[type[np.integer], int, int]:
    if len(raw) < _HEADER_BYTES or not raw.startswith(MAGIC):
        raise ValueError(
            f"{path}: expected a GPT-NeoX index (it begins with MMIDIDX), "
            f"found {raw[:9]!r}: is it another format, or a Git LFS pointer?"
        )
    version = int.from_bytes(raw[9:17], "little")
    if version != 1:
        raise ValueError(f"{path}: expected version 1 of the index, found {version}")
    code = raw[17]
    if code not in _DTYPES:
        raise ValueError(f"{path}: dtype code {code} is none of {sorted(_DTYPES)}")
    num_items, num_docs = (int.from_bytes(raw[at : at + 8], "little") for at in (18, 26))
    return _DTYPES[code], num_items, num_docs


def span_starts(dataset: IndexedDataset, context: int) -> NDArray[np.int64]:
    """Where the spans of `context` + 1 ids begin, int64 [spans], in ids.

    Spans follow one another through the token stream, overlapping by one id. Where every item
    has the same size and holds a whole span, the file is pre-shuffled (Pythia's: 2049 ids an
    item, each one training sequence) and a span never crosses from one item into the next.
    """
    size = int(dataset.sizes[0])
    if len(dataset.sizes) > 1 and size > context and (dataset.sizes == size).all():
        within = np.arange(num_samples(size, context)) * context
        return np.asarray((dataset.starts[:, None] + within).reshape(-1), dtype=np.int64)
    return np.arange(num_samples(len(dataset.ids), context), dtype=np.int64) * context


def read_spans(
    dataset: IndexedDataset, starts: NDArray[np.int64], *, context: int, vocab_size: int
) -> NDArray[np.int32]:
    """Spans by their starts; int32 [len(starts), context + 1].

    Raises ValueError for ids outside the vocabulary.
    """
    ids = dataset.ids[starts[:, None] + np.arange(context + 1)].astype(np.int64)
    if ids.size and not (ids.min() >= 0 and ids.max() < vocab_size):
        raise ValueError(
            f"memmap source: found ids from {ids.min()} to {ids.max()}, the model's vocabulary is "
            f"0 to {vocab_size - 1}: was it tokenised for another model?"
        )
    return np.asarray(ids, dtype=np.int32)
