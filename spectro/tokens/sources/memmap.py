"""Reader of GPT-NeoX / Megatron indexed datasets, `MMIDIDX` version 1: Pythia's training data.

`<prefix>.idx`, little-endian: magic b"MMIDIDX\\0\\0" (9 bytes), version u64 = 1, dtype code u8,
number of items u64, number of documents u64, item sizes i32 [items], item offsets in bytes i64
[items], first item of each document i64 [documents]. `<prefix>.bin` holds the ids alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spectro.tokens.sources.remote import OpenUrl, SourceFile, UrlFile, is_url, no_urls

MAGIC = b"MMIDIDX\x00\x00"
_HEADER_BYTES = len(MAGIC) + 8 + 1 + 8 + 8
_DTYPES: dict[int, type[np.integer]] = {
    1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 8: np.uint16,
}  # fmt: skip
BLOCK_ITEMS = 2**16
"""Items of the index read at once; Pythia's has 1.4e8."""


class Ids(Protocol):
    """Ids by their positions: a memory map, or a file at a URL of which ranges are fetched."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of an id in the file."""

    def __len__(self) -> int:
        """Number of ids."""

    def __getitem__(self, positions: NDArray[np.int64]) -> NDArray[np.integer]:
        """Ids at some positions, in the shape of these."""


@dataclass(frozen=True, kw_only=True)
class IndexedDataset:
    """A memory-mapped pair of files."""

    index_path: Path
    """The `.idx` file, for messages."""
    ids: Ids
    """All ids of the `.bin` file, [num_ids], also those outside all items."""
    sizes: NDArray[np.integer]
    """Ids per item, int32 [items], a memory map."""
    offsets: NDArray[np.integer]
    """First byte of each item in the `.bin` file, int64 [items], a memory map."""
    doc_idx: NDArray[np.integer]
    """First item of each document, int64 [documents], a memory map."""

    @property
    def num_items(self) -> int:
        """Items of the index."""
        return len(self.sizes)

    def starts(self, items: NDArray[np.int64] | slice) -> NDArray[np.int64]:
        """First id of some items, int64, counted in ids."""
        return np.asarray(self.offsets[items], dtype=np.int64) // self.ids.dtype.itemsize

    def blocks(self) -> Iterator[slice]:
        """All items in order, `BLOCK_ITEMS` at a time."""
        for first in range(0, self.num_items, BLOCK_ITEMS):
            yield slice(first, min(first + BLOCK_ITEMS, self.num_items))


def pair_at(path: str) -> tuple[str, str]:
    """The `.idx` and `.bin` of a path or URL that names either or their common prefix."""
    prefix = path.removesuffix(".bin").removesuffix(".idx")
    return f"{prefix}.idx", f"{prefix}.bin"


def open_indexed(path: str, open_url: OpenUrl = no_urls) -> IndexedDataset:
    """Map `<path>.bin` and `<path>.idx`; every item is within the `.bin` file.

    At a URL the index is copied to this machine; of the ids only those that are read are fetched.
    Raises FileNotFoundError; ValueError for a foreign, damaged or cut file, or unexplained bytes.
    """
    index, data_path = (_file_at(name, path, open_url) for name in pair_at(path))
    index_path = index if isinstance(index, Path) else Path(index.local())
    dtype, num_items, num_docs = _header(index_path)
    _require_index_bytes(index_path, num_items, num_docs)
    width, num_bytes = np.dtype(dtype).itemsize, _size_of(data_path)
    at_offsets = _HEADER_BYTES + 4 * num_items
    dataset = IndexedDataset(
        index_path=index_path,
        ids=_ids_of(data_path, np.dtype(dtype).newbyteorder("<"), num_bytes // width),
        sizes=_mapped(index_path, "<i4", _HEADER_BYTES, num_items),
        offsets=_mapped(index_path, "<i8", at_offsets, num_items),
        doc_idx=_mapped(index_path, "<i8", at_offsets + 8 * num_items, num_docs),
    )
    needed, named = _check_items(dataset)
    _require_width(dataset, data_path, num_bytes, needed, named)
    if num_bytes < needed:
        raise ValueError(
            f"{data_path}: expected {needed} bytes, found {num_bytes}: is the download incomplete?"
        )
    if num_bytes % width:
        raise ValueError(
            f"{data_path}: {num_bytes} bytes are not a whole number of ids of {width} bytes: is it "
            "the file of another index, or cut short?"
        )
    _check_documents(dataset)
    return dataset


def _file_at(name: str, path: str, open_url: OpenUrl) -> SourceFile:
    if not is_url(name):
        _require_file(Path(name), path)
        return Path(name)
    found = open_url(name).get("")
    if found is None:
        raise FileNotFoundError(f"memmap source: expected the file {name}, found none")
    return found


def _size_of(file: SourceFile) -> int:
    return file.stat().st_size if isinstance(file, Path) else file.size_bytes


def _ids_of(file: SourceFile, dtype: "np.dtype[np.integer]", count: int) -> Ids:
    return _mapped(file, dtype, 0, count) if isinstance(file, Path) else RangedIds(file, dtype)


@dataclass(frozen=True)
class RangedIds:
    """`Ids` of a file at a URL."""

    file: UrlFile
    dtype: "np.dtype[np.integer]"

    def __len__(self) -> int:
        return self.file.size_bytes // self.dtype.itemsize

    def __getitem__(self, positions: NDArray[np.int64]) -> NDArray[np.integer]:
        """One range for each run of neighbours."""
        if not positions.size:
            return np.zeros(positions.shape, self.dtype)
        width, wanted = self.dtype.itemsize, np.unique(positions)
        runs = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1)
        ranges = [(int(run[0]) * width, (int(run[-1]) + 1) * width) for run in runs]
        ids = np.frombuffer(b"".join(self.file.read_ranges(ranges)), self.dtype)
        return ids[np.searchsorted(wanted, positions)]


def _require_file(file: Path, path: str) -> None:
    if file.is_file():
        return
    found = f"a folder of the name {file.name}" if file.is_dir() else "none"
    if found == "none" and Path(path).is_dir():
        raise FileNotFoundError(
            f"memmap source: {path} is a folder: expected the common part of the names of one "
            f"pair of files, such as {path.rstrip('/')}/NAME for NAME.bin and NAME.idx"
        )
    raise FileNotFoundError(f"memmap source: expected the file {file}, found {found}")


def _require_width(
    dataset: IndexedDataset, data_path: SourceFile, num_bytes: int, needed: int, named: int
) -> None:
    """Raise ValueError if ids seem 2, 4 or 8 times as wide as the index says."""
    width = dataset.ids.dtype.itemsize
    for times in (2, 4, 8):
        if width * times <= 8 and num_bytes in (times * needed, times * named) and needed:
            raise ValueError(
                f"{data_path}: {num_bytes} bytes are exactly {times} times those of the items of "
                f"{dataset.index_path.name}, which says that an id has {width} bytes: is the dtype "
                f"code of the index right, or are they ids of {width * times} bytes, or the file "
                "of another index?"
            )


def _mapped(
    path: Path, dtype: "np.dtype[np.integer] | str", at_byte: int, count: int
) -> NDArray[np.integer]:
    """`count` numbers of a file; an empty file cannot be mapped."""
    if count == 0:
        return np.zeros(0, dtype)
    return np.memmap(path, dtype=dtype, mode="r", offset=at_byte, shape=(count,))


def _header(path: Path) -> tuple[type[np.integer], int, int]:
    with path.open("rb") as file:
        raw = file.read(_HEADER_BYTES)
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
    if num_items == 0:
        raise ValueError(f"{path}: holds no item")
    return _DTYPES[code], num_items, num_docs


def _require_index_bytes(path: Path, num_items: int, num_docs: int) -> None:
    expected = _HEADER_BYTES + num_items * (4 + 8) + num_docs * 8
    found = path.stat().st_size
    if found < expected:
        raise ValueError(
            f"{path}: expected {expected} bytes for {num_items} items and {num_docs} documents, "
            f"found {found}: is the file cut short?"
        )
    if found > expected:
        raise ValueError(
            f"{path}: expected {expected} bytes for {num_items} items and {num_docs} documents, "
            f"found {found - expected} more: was it written by another tool (a multimodal index?), "
            "or appended to?"
        )


def _check_items(dataset: IndexedDataset) -> tuple[int, int]:
    """Required bytes of the `.bin` file, and bytes of all items.

    Raises ValueError for impossible sizes or offsets.
    """
    width, needed, named = dataset.ids.dtype.itemsize, 0, 0
    for block in dataset.blocks():
        sizes = dataset.sizes[block].astype(np.int64)
        offsets = np.asarray(dataset.offsets[block])
        if (offsets % width).any() or (offsets < 0).any() or (sizes < 0).any():
            raise ValueError(
                f"{dataset.index_path}: offsets and sizes make no sense: is the file damaged?"
            )
        ends = np.where(sizes > 0, offsets + sizes * width, 0)
        needed, named = max(needed, int(ends.max())), named + int(sizes.sum()) * width
    return needed, named


def _check_documents(dataset: IndexedDataset) -> None:
    """Raise ValueError unless documents begin at item 0 and follow one another."""
    last, doc_idx = 0, dataset.doc_idx
    for first in range(0, len(doc_idx), BLOCK_ITEMS):
        block = np.asarray(doc_idx[first : first + BLOCK_ITEMS])
        in_order = (np.diff(block, prepend=last) >= 0).all()
        if not in_order or (first == 0 and block[0] != 0) or block[-1] > dataset.num_items:
            raise ValueError(
                f"{dataset.index_path}: document boundaries must rise from 0 to at most "
                f"{dataset.num_items} items, found others: is the file damaged?"
            )
        last = int(block[-1])
