"""JSON lines, plain or compressed: one document per line."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from spectro.tokens.text_folder import decode, matching_paths, warn_of_replaced

SUFFIXES = (".jsonl", ".jsonl.zst", ".jsonl.gz")
_COMPRESSION = {".zst": "zstd", ".gz": "gzip"}


def read_jsonl(path: str, field: str) -> Iterator[str]:
    """Documents of a file, folder or glob, in the order of paths and lines; empty lines count not.

    Raises FileNotFoundError when there is no file; ValueError, naming file and line, for a line
    that is no JSON object, lacks the field, or whose field is no text, and for a damaged or cut
    compressed file.
    """
    files = matching_paths(path, SUFFIXES)
    return (document for file in files for document in _read_file(file, field))


def _read_file(file: Path, field: str) -> Iterator[str]:
    num_bad = 0
    compression = _COMPRESSION.get(file.suffix)
    try:
        with pa.input_stream(str(file), compression=compression) as stream:
            for number, raw in enumerate(io.BufferedReader(stream), start=1):
                line, bad = decode(raw)
                num_bad += bad
                if line.strip():
                    yield _document(line, field, f"{file}, line {number}")
    except OSError as error:
        raise ValueError(
            f"{file}: expected {compression or 'plain'} text, found {error}: "
            "is the file damaged or cut short?"
        ) from error
    finally:
        warn_of_replaced(str(file), num_bad)


def _document(line: str, field: str, where: str) -> str:
    try:
        value: Any = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: expected a JSON object, found {line[:40]!r}") from error
    return field_text(value, field, where)


def field_text(value: Any, field: str, where: str) -> str:
    """The text at a dotted field of a record. Raises ValueError when it is missing or no text."""
    for name in field.split("."):
        if not isinstance(value, dict) or name not in value:
            found = ", ".join(map(str, value)) if isinstance(value, dict) else type(value).__name__
            raise ValueError(f"{where}: expected the field {field!r}, found {found}")
        value = value[name]
    if not isinstance(value, str):
        raise ValueError(f"{where}: expected text in {field!r}, found {type(value).__name__}")
    return value
