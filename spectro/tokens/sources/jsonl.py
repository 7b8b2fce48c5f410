"""JSON lines, plain or compressed: one document per line."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from spectro.tokens.sources.content import COMPRESSED_ENDINGS, opened, shown
from spectro.tokens.sources.fields import value_at
from spectro.tokens.sources.folders import files_at
from spectro.tokens.sources.remote import OpenUrl, SourceFile, no_urls
from spectro.tokens.sources.source_report import SourceReport
from spectro.tokens.sources.text_bytes import FileText

ENDINGS = tuple(
    f"{name}{compressed}"
    for name in (".jsonl", ".ndjson")
    for compressed in ("", *COMPRESSED_ENDINGS)
)


_ARRAY = "is it a JSON array? JSON lines have one object a line, without brackets"


def read_jsonl(
    path: str, field: str, report: SourceReport | None = None, open_url: OpenUrl = no_urls
) -> Iterator[str]:
    """Documents of a file, folder or glob, local or at a URL, in the order of paths and lines.

    Empty lines and nulls are skipped and counted. Raises FileNotFoundError; ValueError, naming file
    and line, for a line that is not a JSON object, lacks the field or has it twice, or whose field
    is not text, and for a damaged file.
    """
    report = SourceReport() if report is None else report
    files = files_at(path, ENDINGS, report, open_url)
    return (document for file in files for document in _read_file(file, field, report))


def _read_file(file: SourceFile, field: str, report: SourceReport) -> Iterator[str]:
    where = shown(file)
    text, decoder = FileText(where, report), _decoder(field)
    with opened(file) as stream:
        report.count("empty files", int(not stream.peek(1)))
        for number, line in text.lines(stream):
            if not line.strip():
                report.count("empty lines skipped")
                continue
            place = f"line {number}"
            record = _record(decoder, line, f"{where}, {place}")
            value = value_at(record, field, f"{where}, {place}")
            document = text.of_value(value, field, place)
            if document is not None:
                yield document


class _TwiceError(ValueError):
    """A duplicate field in one object."""


def _decoder(field: str) -> json.JSONDecoder:
    """A decoder that refuses objects with the field, or a part of its path, twice."""
    names = {field, *field.split(".")}

    def unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) < len(pairs):
            for name, number in Counter(name for name, _ in pairs).items():
                if number > 1 and name in names:
                    raise _TwiceError(f"found the field {name!r} {number} times in one object")
        return record

    return json.JSONDecoder(object_pairs_hook=unambiguous)


def _record(decoder: json.JSONDecoder, line: str, where: str) -> dict[str, Any]:
    try:
        value: Any = decoder.decode(line)
    except _TwiceError as error:
        raise ValueError(f"{where}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(_no_json(line, error, where)) from error
    if not isinstance(value, dict):
        hint = f": {_ARRAY}" if isinstance(value, list) else ""
        raise ValueError(f"{where}: expected a JSON object, found {type(value).__name__}{hint}")
    return value


def _no_json(line: str, error: Exception, where: str) -> str:
    found = f"{where}: expected a JSON object on one line, found {line[:40]!r}"
    if line.lstrip().startswith("["):
        return f"{found}: {_ARRAY}"
    if isinstance(error, json.JSONDecodeError):
        if error.pos >= len(line.rstrip()):
            return f"{found}, which does not end there: is it indented JSON, or is it cut short?"
        return f"{found} ({error.msg})"
    return f"{found} ({error})"
