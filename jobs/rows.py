"""Rows of results as CSV, JSON or Parquet, to a file or to standard output.

Tokens and names can be anything, and programs that open CSV files run a cell that begins with
= + - @ or a tab as a formula. In CSV such a text gets an apostrophe before it; JSON and Parquet are
exact.
"""

from __future__ import annotations

import sys
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from spectro.formats.out_file import replaced

from .output import json_text

ENDINGS = (".parquet", ".csv")
"""Of files for the rows of a table."""
FORMULA = r"^[=+\-@\t\r]"
"""How a formula begins."""


def write_rows(rows: pa.RecordBatchReader | pa.Table, kind: str, out: str | None = None) -> int:
    """All rows as `csv`, `json` or `parquet`, to a file or to standard output; how many.

    A file that exists is replaced once all rows are written; errors as `replaced`.
    """
    reader = rows.to_reader() if isinstance(rows, pa.Table) else rows
    writer = {"csv": _csv, "json": _json, "parquet": _parquet}[kind]
    if out is None:
        count = writer(reader, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return count
    with replaced(out) as sink:
        return writer(reader, sink)


def write_table(rows: pa.RecordBatchReader | pa.Table, out: str) -> int:
    """Rows to a file, as Parquet or CSV by its ending."""
    return write_rows(rows, out.rpartition(".")[2], out)


def _csv(reader: pa.RecordBatchReader, sink: BinaryIO) -> int:
    """Lists, structures and bytes are JSON text."""
    schema, rows = pa.schema([_csv_field(field) for field in reader.schema]), 0
    with pyarrow.csv.CSVWriter(sink, schema) as writer:
        for batch in reader:
            columns = [_csv_column(column) for column in batch.columns]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            rows += batch.num_rows
    return rows


def _csv_field(field: pa.Field) -> pa.Field:
    kind = pa.string() if _is_nested(field.type) or _is_text(field.type) else field.type
    (name,) = _without_formulas(pa.array([field.name], pa.string())).to_pylist()
    return pa.field(name, kind)


def _csv_column(column: pa.Array) -> pa.Array:
    if _is_text(column.type):
        return _without_formulas(column)
    if _is_nested(column.type):
        values = column.to_pylist()
        texts = [None if value is None else json_text(value, None) for value in values]
        return pa.array(texts, pa.string())
    return column


def _without_formulas(column: pa.Array) -> pa.Array:
    """Text, with an apostrophe before a formula; null stays null."""
    text = column.cast(pa.string())
    quoted = pc.binary_join_element_wise("'", text, "")
    return pc.if_else(pc.match_substring_regex(text, FORMULA), quoted, text)


def _parquet(reader: pa.RecordBatchReader, sink: BinaryIO) -> int:
    rows = 0
    with pq.ParquetWriter(sink, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _json(reader: pa.RecordBatchReader, sink: BinaryIO) -> int:
    rows = 0
    sink.write(b"[")
    for batch in reader:
        for row in batch.to_pylist():
            sink.write((",\n" if rows else "\n").encode() + json_text(row, None).encode())
            rows += 1
    sink.write(b"\n]\n")
    return rows


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_nested(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_decimal(kind))
