"""Parquet files: one document per row."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from spectro.tokens.sources.content import shown
from spectro.tokens.sources.fields import split_field
from spectro.tokens.sources.folders import files_at
from spectro.tokens.sources.remote import OpenUrl, SourceFile, no_urls
from spectro.tokens.sources.source_report import SourceReport
from spectro.tokens.sources.text_bytes import FileText

ENDINGS = (".parquet",)
_BATCH_ROWS = 256
_STRINGS = (pa.string(), pa.large_string(), pa.string_view())
_BINARY = (pa.binary(), pa.large_binary(), pa.binary_view())


def read_parquet(
    path: str, field: str, report: SourceReport | None = None, open_url: OpenUrl = no_urls
) -> Iterator[str]:
    """Documents of a file, folder or glob, local or at a URL, in the order of paths and rows.

    Text is any type of string, also in dictionaries and structs; binary values are UTF-8. Nulls are
    skipped and counted. Raises FileNotFoundError; ValueError for a file that is not Parquet, lacks
    the field, or whose field is not text.
    """
    report = SourceReport() if report is None else report
    files = files_at(path, ENDINGS, report, open_url)
    return (document for file in files for document in _read_file(file, field, report))


def _read_file(file: SourceFile, field: str, report: SourceReport) -> Iterator[str]:
    where = shown(file)
    text = FileText(where, report)
    try:
        with pq.ParquetFile(file if isinstance(file, Path) else file.open()) as parquet:
            path, kind = _path_of(where, parquet.schema_arrow, field)
            decode = text.of_bytes if kind in _BINARY else text.of_utf8
            for row, raw in enumerate(_values(parquet, field, path), start=1):
                if raw is None:
                    report.count("null documents skipped")
                else:
                    yield decode(raw, f"row {row}")
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{where}: expected a Parquet file, found {reason}") from error


def _values(parquet: pq.ParquetFile, field: str, path: list[str]) -> Iterator[bytes | None]:
    """The bytes of a text column, row group by row group: dictionaries differ between them."""
    for group in range(parquet.num_row_groups):
        batches = parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[field])
        for batch in batches:
            column: pa.Array = batch.column(batch.schema.get_field_index(path[0]))
            for name in path[1:]:
                column = pc.struct_field(column, column.type.get_field_index(name))
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            yield from column.cast(pa.large_binary()).to_pylist()


def _path_of(where: str, schema: pa.Schema, field: str) -> tuple[list[str], pa.DataType]:
    """Column path of a field, and its type."""
    path: list[str] = []
    rest, within = field, pa.struct(list(schema))
    while rest:
        names = [within.field(i).name for i in range(within.num_fields)]
        head = split_field(rest, names)
        if head is None:
            found = f"{'.'.join(path)}: {within}" if path else ", ".join(names)
            raise ValueError(f"{where}: expected the field {field!r}, found {found}")
        if names.count(head[0]) > 1:
            raise ValueError(f"{where}: expected one field {field!r}, found {names.count(head[0])}")
        path, rest = [*path, head[0]], head[1]
        within = within.field(head[0]).type
        if rest and not pa.types.is_struct(within):
            found = f"{'.'.join(path)}: {within}"
            raise ValueError(f"{where}: expected the field {field!r}, found {found}")
    kind = within.value_type if pa.types.is_dictionary(within) else within
    if kind not in (*_STRINGS, *_BINARY, pa.null()):
        raise ValueError(f"{where}: expected text in {field!r}, found {within}")
    return path, kind
