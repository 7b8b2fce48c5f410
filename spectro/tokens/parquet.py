"""Parquet files: one document per row."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from spectro.tokens.text_folder import matching_paths

_BATCH_ROWS = 256


def read_parquet(path: str, field: str) -> Iterator[str]:
    """Documents of a file, folder or glob, in the order of paths and rows; nulls are left out.

    Raises FileNotFoundError when there is no file; ValueError for a file that is no Parquet,
    lacks the field, or whose field is no text.
    """
    files = matching_paths(path, (".parquet",))
    return (document for file in files for document in _read_file(file, field))


def _read_file(file: Path, field: str) -> Iterator[str]:
    try:
        with pq.ParquetFile(file) as parquet:
            _check_field(file, parquet.schema_arrow, field)
            for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=[field]):
                column: pa.Array = batch.column(0)
                for name in field.split(".")[1:]:
                    column = column.field(name)
                yield from (text for text in column.to_pylist() if text is not None)
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{file}: expected a Parquet file, found {reason}") from error


def _check_field(file: Path, schema: pa.Schema, field: str) -> None:
    first, *rest = field.split(".")
    if first not in schema.names:
        raise ValueError(f"{file}: expected the field {field!r}, found {', '.join(schema.names)}")
    kind = schema.field(first).type
    for name in rest:
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            raise ValueError(f"{file}: expected the field {field!r}, found {first}: {kind}")
        kind = kind.field(name).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise ValueError(f"{file}: expected text in {field!r}, found {kind}")
