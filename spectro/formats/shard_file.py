"""Parquet objects of a token shard: encoding, metadata, and reads of some columns.

Rows, half estimates and deviations share metadata (component names, fingerprint of the draws, a
summary) and encodings; the same table gives the same bytes. Reads fetch the whole object to verify
its checksum and decode only the requested columns; views may read byte ranges, unverified.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from spectro.storage.ranges import Meter, RangeReader
from spectro.storage.store import ObjectInfo, Store

COMPONENTS, FINGERPRINT, SUMMARY = "spectro.components", "spectro.fingerprint", "spectro.summary"
Rows = TypeVar("Rows")


@dataclass(frozen=True, kw_only=True)
class Head:
    """Schema metadata of a shard's object."""

    components: tuple[str, ...]
    """Names of the columns of χ."""
    fingerprint: str
    """Of the run that made it."""
    summary: dict[str, Any]
    """Statistics of the columns when it was made."""


def metadata_of(
    components: Sequence[str], fingerprint: str, summary: Mapping[str, Any]
) -> dict[str, str]:
    """Schema metadata of an object."""
    return {
        COMPONENTS: json.dumps(list(components)),
        FINGERPRINT: fingerprint,
        SUMMARY: json.dumps(dict(summary)),
    }


def to_bytes(table: pa.Table) -> bytes:
    """Parquet: zstd, floats byte-stream-split, dictionaries where the table has them."""
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=[f.name for f in table.schema if pa.types.is_dictionary(f.type)],
        column_encoding=dict.fromkeys(_float_columns(table.schema), "BYTE_STREAM_SPLIT"),
    )
    return sink.getvalue()


def read_columns(
    store: Store, name: str, info: ObjectInfo | None, columns: Sequence[str] | None = None
) -> tuple[Head, pa.Table]:
    """Some columns of an object (None: all), verified against its marker's `info`, if there is any.

    Raises FileNotFoundError, DamagedObjectError, ValueError if it was not written by spectro.
    """
    file = _open(store, name, info)
    table = file.read(columns=None if columns is None else list(columns))
    return _head(file, store, name), table


def read_head(store: Store, name: str) -> Head:
    """The metadata alone, without verification."""
    return _head(_open(store, name, None), store, name)


def head_by_range(store: Store, name: str, size_bytes: int, meter: Meter) -> Head:
    """The metadata alone, by range; errors as `columns_by_range`."""
    return _head(_ranged(store, name, size_bytes, meter), store, name)


def columns_by_range(
    store: Store, name: str, size_bytes: int, columns: Sequence[str], meter: Meter
) -> pa.Table:
    """Some columns of an object by range requests, without verification.

    Args:
        size_bytes: length of the object in a listing; 0 where the listing lacks it.
        meter: counts the reads.

    Raises MissingObjectError, ValueError if it was not written by spectro.
    """
    file = _ranged(store, name, size_bytes, meter)
    return file.read(columns=list(columns)).replace_schema_metadata(None)


def matrix(column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """A column of lists of equal length as an array [N, H]."""
    array = column.combine_chunks()
    flat = np.asarray(array.flatten(), dtype=np.float32)
    return flat.reshape(-1, array.type.list_size)


def lists(values_NH: npt.NDArray[np.floating]) -> pa.FixedSizeListArray:
    """Inverse of `matrix`."""
    flat = np.ascontiguousarray(values_NH, dtype=np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), values_NH.shape[1])


def stored_array(values: npt.NDArray[np.floating]) -> pa.Array:
    """A column as it is stored: float32 for [N], lists of H float32 for [N, H]."""
    return lists(values) if values.ndim == 2 else pa.array(values.astype(np.float32))


def extent(shape: tuple[int, ...]) -> str:
    """A shape in messages: `20 × 3`."""
    return " × ".join(map(str, shape))


def of_one_run(
    shards: Iterable[tuple[str, Head, Rows]], store: Store
) -> Iterator[tuple[Head, Rows]]:
    """The same shards as (head, rows); ValueError if they are of different runs."""
    first: tuple[str, Head] | None = None
    for name, head, rows in shards:
        first = first or (name, head)
        for key in ("components", "fingerprint"):
            if getattr(head, key) != getattr(first[1], key):
                raise ValueError(
                    f"{store.uri}/{name} has another spectro.{key} than {first[0]}: "
                    "were shards of two runs put into one folder?"
                )
        yield head, rows


def _float_columns(schema: pa.Schema) -> list[str]:
    plain = [f.name for f in schema if pa.types.is_floating(f.type)]
    in_lists = [f.name for f in schema if pa.types.is_fixed_size_list(f.type)]
    return plain + [f"{name}.list.element" for name in in_lists]


def _open(store: Store, name: str, info: ObjectInfo | None) -> pq.ParquetFile:
    data = store.read(name)
    if info is not None:
        info.verify(data, f"{store.uri}/{name}")
    return _parquet(pa.BufferReader(data), store, name)


def _ranged(store: Store, name: str, size_bytes: int, meter: Meter) -> pq.ParquetFile:
    reader = RangeReader(store, name, size_bytes, meter)
    return _parquet(pa.PythonFile(reader, mode="r"), store, name)


def _parquet(source: pa.NativeFile, store: Store, name: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(source)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{store.uri}/{name} is not a Parquet file: {error}") from error


def _head(file: pq.ParquetFile, store: Store, name: str) -> Head:
    metadata = file.schema_arrow.metadata or {}
    try:
        return Head(
            components=tuple(json.loads(metadata[COMPONENTS.encode()])),
            fingerprint=metadata[FINGERPRINT.encode()].decode(),
            summary=json.loads(metadata[SUMMARY.encode()]),
        )
    except KeyError as error:
        raise ValueError(
            f"{store.uri}/{name} lacks {error} in its metadata: was it written by spectro?"
        ) from error
