"""Parquet tables that a marker names with size and checksum."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from spectro.storage.store import ObjectInfo, Store


def table_bytes(table: pa.Table) -> bytes:
    """Parquet, zstd; the same table gives the same bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def put_table(store: Store, name: str, table: pa.Table) -> ObjectInfo:
    """Put a table before its marker; returns what the marker says of it.

    An object with other bytes comes from a writer that died before its marker: it is replaced.
    """
    data = table_bytes(table)
    if not store.put_if_absent(name, data) and store.read(name) != data:
        store.delete(name)
        store.put(name, data)
    return ObjectInfo.of(data)


def read_checked_table(
    store: Store, name: str, info: ObjectInfo | None, columns: Sequence[str] | None = None
) -> pa.Table:
    """Some columns of a table (None: all), checked against its marker's info, if there is any.

    Raises FileNotFoundError, DamagedObjectError.
    """
    data = store.read(name)
    if info is not None:
        info.verify(data, f"{store.uri}/{name}")
    return pq.read_table(io.BytesIO(data), columns=columns and list(columns))
