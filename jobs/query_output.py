"""Answers to a query: a table on the terminal, rows in files."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.csv_cells import harmless, harmless_name, is_text
from spectro.formats.out_file import replaced
from spectro.tokens.display.terminal_text import plain_string
from spectro.views.query.contexts import CONTEXT_COLUMNS
from spectro.views.query.query import Query

LEAST_WIDTH = 130
SHOWN_IN_LIST = 6
"""Elements of a list that a terminal's cell shows."""
MOST_COLUMNS = 32
"""Columns of a table that are named where all tables are told."""
DIGITS = 5
LIT = "bold black on bright_yellow"


@dataclass(frozen=True, kw_only=True)
class Told:
    """An answer on its way."""

    title: str | None
    """What was asked, where it was no SQL."""
    reader: pa.RecordBatchReader
    """Its rows."""
    notes: tuple[str, ...] = ()
    """Sentences."""
    total: int | None = None
    """Rows in all; None: not known before the end."""
    context: tuple[str, str, str] | None = None
    """Of one token that was asked for."""


def tables_of(query: Query) -> Table:
    """The tables that can be asked, with their columns."""
    title = Text(f"Tables of {plain_string(query.view.uri)}")
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("table")
    table.add_column("columns", overflow="fold")
    for name, columns in query.tables.items():
        names = [f"{column} {kind.lower()}" for column, kind in columns]
        if len(names) > MOST_COLUMNS:
            names[MOST_COLUMNS:] = [f"… {len(columns)} columns"]
        table.add_row(name, Text(", ".join(names)))
    table.caption = 'spectro query <run> "select subset, avg(loss) from tokens group by 1"'
    return table


def tell(told: Told, limit: int) -> None:
    """The first rows, and how many there are."""
    rows, more = _first(told.reader, limit)
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(LEAST_WIDTH, console.width))
    names = told.reader.schema.names
    in_context = set(CONTEXT_COLUMNS) <= set(names) and told.total is not None
    plain = [name for name in names if not (in_context and name in CONTEXT_COLUMNS)]
    table = Table(title=None if told.title is None else Text(told.title), title_justify="left")
    for name in plain:
        kind = told.reader.schema.field(name).type
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        table.add_column(
            Text(plain_string(name)), justify="right" if number else "left", overflow="fold"
        )
    if in_context:
        table.add_column("context, y lit", overflow="fold")
    for row in rows:
        cells: list[Text] = [Text(_cell(row[name])) for name in plain]
        lit = [_lit([row[name] for name in CONTEXT_COLUMNS], console)] if in_context else []
        table.add_row(*cells, *lit)
    if told.context is not None:
        console.print(_lit(told.context, console))
    console.print(table)
    for note in (*told.notes, *_counted(len(rows), more, told.total)):
        console.print(Text(note))


def write(reader: pa.RecordBatchReader, kind: str, out: str | None) -> int:
    """All rows as csv, json or parquet, to a file or to standard output; how many.

    A file that is there is replaced once all rows are written; errors as `replaced`.
    """
    writer = {"csv": _csv, "json": _json, "parquet": _parquet}[kind]
    if out is None:
        rows = writer(reader, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return rows
    with replaced(out) as sink:
        return writer(reader, sink)


def _first(reader: pa.RecordBatchReader, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """The first rows, and whether there are more."""
    rows: list[dict[str, Any]] = []
    for batch in reader:
        rows += batch.slice(0, limit + 1 - len(rows)).to_pylist()
        if len(rows) > limit:
            return rows[:limit], True
    return rows, False


def _counted(shown: int, more: bool, total: int | None) -> list[str]:
    if not more:
        return [] if shown else ["no rows"]
    of = "more" if total is None else f"{total:,}"
    return [f"the first {shown:,} rows; there are {of}: limit=…, or out=answer.csv for all"]


def _lit(context: Sequence[str], console: Console) -> Text:
    """A context with its y lit; where there is no colour it stands in brackets."""
    before, y, after = (plain_string(part) for part in context)
    return Text.assemble(before, (y if console.color_system else f"⟦{y}⟧", LIT), after)


def _cell(value: Any) -> str:
    """One value on one line; control characters are shown, never sent to the terminal."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    if isinstance(value, bytes):
        return value.hex(" ")
    if isinstance(value, list):
        shown = ", ".join(_cell(each) for each in value[:SHOWN_IN_LIST])
        return f"[{shown}{f', … {len(value)}' if len(value) > SHOWN_IN_LIST else ''}]"
    return plain_string(str(value))


def _csv(reader: pa.RecordBatchReader, sink: BinaryIO) -> int:
    """Lists, structures and bytes as JSON text; no text that a spreadsheet takes for a formula."""
    schema, rows = pa.schema([_csv_field(field) for field in reader.schema]), 0
    with pyarrow.csv.CSVWriter(sink, schema) as writer:
        for batch in reader:
            columns = [_csv_column(column) for column in batch.columns]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            rows += batch.num_rows
    return rows


def _csv_field(field: pa.Field) -> pa.Field:
    kind = pa.string() if _nested(field.type) or is_text(field.type) else field.type
    return pa.field(harmless_name(field.name), kind)


def _csv_column(column: pa.Array) -> pa.Array:
    if is_text(column.type):
        return harmless(column)
    if _nested(column.type):
        return pa.array([_json_text(value) for value in column.to_pylist()], pa.string())
    return column


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
            text = _json_text(row)
            assert text is not None
            sink.write((",\n" if rows else "\n").encode() + text.encode())
            rows += 1
    sink.write(b"\n]\n")
    return rows


def _json_text(value: Any) -> str | None:
    """A value as JSON; null where there is none, or a number that is not finite."""
    return None if value is None else json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _nested(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_decimal(kind))
