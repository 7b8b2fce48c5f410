"""A folder of text files: one document per file, in the order of their paths."""

from collections.abc import Iterator

from spectro.tokens.sources.content import opened, shown
from spectro.tokens.sources.folders import files_in
from spectro.tokens.sources.remote import OpenUrl, SourceFile, no_urls
from spectro.tokens.sources.source_report import SourceReport
from spectro.tokens.sources.text_bytes import FileText


def read_text_folder(
    path: str, pattern: str, report: SourceReport | None = None, open_url: OpenUrl = no_urls
) -> Iterator[str]:
    """Documents of the files that match a pattern (`folders.py`, `text_bytes.py`).

    Raises FileNotFoundError for a missing or empty folder; ValueError, naming the file, for one
    that is not text.
    """
    report = SourceReport() if report is None else report
    files = files_in(path, pattern, report, open_url)
    if not files:
        raise FileNotFoundError(
            f"text_folder source: no file matches {pattern!r} in {path}{report.in_brackets}"
        )
    return (read_document(file, report) for file in files)


def read_document(file: SourceFile, report: SourceReport) -> str:
    """The decompressed text of a file; raises ValueError if it is not text."""
    with opened(file) as stream:
        return FileText(shown(file), report).whole(stream)
