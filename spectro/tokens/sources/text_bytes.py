"""Decodes bytes and cleans strings: one set of rules for all sources and `spectro text`.

- Text is UTF-8, or UTF-16 or UTF-32 with a byte-order mark (counted).
- Byte-order marks at the start of a document or line are dropped and counted; U+FEFF elsewhere is
  text.
- Bytes that are not UTF-8 become U+FFFD and are counted. A file with more than a tenth replaced is
  refused: another encoding, or binary.
- A zero byte in a file or binary column is refused as binary. In declared text (JSON, Parquet)
  U+0000 becomes U+FFFD and is counted.
- Lone surrogates become U+FFFD and are counted.
- U+FFFD of the text itself is not counted. Line ends and all other characters stay.
- A null is skipped and counted.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from itertools import count
from typing import Any

from spectro.tokens.sources.source_report import SourceReport

MOST_REPLACED = 0.1
"""Share of replaced characters above which a file is not text."""
FEW_REPLACED = 16
"""Replacements allowed before the share is checked, within a file or declared text."""
MAX_LINE_CHARS = 2**28
_HEAD_BYTES = 2**20
_MARK, _REPLACEMENT = "\ufeff", "\ufffd"
_WIDE = {
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip


def decode_utf8(raw: bytes) -> tuple[str, int]:
    """Text of UTF-8 bytes without byte-order mark, and the number of replaced characters."""
    try:
        text, num_bad = raw.decode(), 0
    except UnicodeDecodeError:
        text = raw.decode("utf-8", errors="replace")
        num_bad = text.count(_REPLACEMENT) - raw.count(_REPLACEMENT.encode())
    return text.lstrip(_MARK), num_bad


class FileText:
    """Text of one file or table; counts replacements.

    All methods raise ValueError, naming file and place, for what is not text.
    """

    def __init__(self, where: str, report: SourceReport) -> None:
        self._where = where
        self._report = report
        self._num_chars = self._num_replaced = 0

    def whole(self, stream: io.BufferedReader) -> str:
        """The text of the whole file as one document."""
        head = stream.read(_HEAD_BYTES)
        if b"\0" in head and _wide_encoding(head) is None:
            self.of_bytes(head)  # refused before reading more
        text = self.of_bytes(head + stream.read())
        self._judge("", 0)
        return text

    def lines(self, stream: io.BufferedReader) -> Iterator[tuple[int, str]]:
        r"""Numbers, from 1, and texts of the lines; a line ends with \n alone."""
        encoding = _wide_encoding(stream.peek(4))
        source: io.BufferedReader | io.TextIOWrapper = stream
        if encoding is not None:
            self._report.count(f"files read as {encoding}")
            source = io.TextIOWrapper(stream, encoding, "surrogatepass", newline="\n")
        for number in count(1):
            place = f"line {number}"
            try:
                line = source.readline(MAX_LINE_CHARS)
            except UnicodeDecodeError as error:
                raise self._not(str(encoding), error, place) from error
            if not line:
                return self._judge("", 0)
            if len(line) == MAX_LINE_CHARS:
                raise ValueError(
                    f"{self._at(place)}: expected lines of less than {MAX_LINE_CHARS:,} bytes, "
                    "found a longer one: does the file have line ends (\\n)?"
                )
            text = (
                self.of_bytes(line, place) if isinstance(line, bytes) else self._wide(line, place)
            )
            yield number, text

    def of_bytes(self, raw: bytes, place: str = "") -> str:
        """Text of bytes of undeclared encoding."""
        encoding = _wide_encoding(raw)
        if encoding is not None:
            try:
                decoded = raw.decode(encoding, "surrogatepass")
            except UnicodeDecodeError as error:
                raise self._not(encoding, error, place) from error
            self._report.count(f"{'values' if place else 'files'} read as {encoding}")
            return self._wide(decoded, place)
        num_zero = raw.count(0)
        if num_zero:
            is_wide = num_zero > 0.3 * len(raw)
            cause = "is it UTF-16 without a byte-order mark?" if is_wide else "is it binary?"
            raise ValueError(
                f"{self._at(place)} is not text: {num_zero} of its {len(raw)} bytes are zero: "
                f"{cause} Expected UTF-8"
            )
        return self._utf8(raw, place)

    def of_utf8(self, raw: bytes, place: str = "") -> str:
        """Text of bytes declared to be UTF-8."""
        return self._without_nul(self._utf8(raw, place), place)

    def of_string(self, text: str, place: str = "") -> str:
        """Clean text of a string (without mark, lone surrogates and U+0000)."""
        clean = self._without_nul(self._without_surrogates(text, place), place)
        return self._without_mark(clean)

    def of_value(self, value: Any, field: str, place: str = "") -> str | None:
        """Clean text of a record's value; None, counted, for null."""
        if value is None:
            self._report.count("null documents skipped")
            return None
        if isinstance(value, str):
            return self.of_string(value, place)
        if isinstance(value, bytes):
            return self.of_bytes(value, place)
        found = "NaN" if value != value else type(value).__name__
        raise ValueError(f"{self._at(place)}: expected text in {field!r}, found {found}")

    def _wide(self, text: str, place: str) -> str:
        if "\0" in text:
            raise ValueError(f"{self._at(place)} is not text: it has NUL characters: is it binary?")
        return self._without_mark(self._without_surrogates(text, place))

    def _utf8(self, raw: bytes, place: str) -> str:
        text, num_bad = decode_utf8(raw)
        self._report.count("byte-order marks dropped", int(raw.startswith(codecs.BOM_UTF8)))
        self._num_chars += len(text)
        self._replaced("characters not in UTF-8 replaced by U+FFFD", num_bad, place)
        return text

    def _without_surrogates(self, text: str, place: str) -> str:
        self._num_chars += len(text)
        try:
            text.encode()
        except UnicodeEncodeError:
            clean = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            num_lone = clean.count(_REPLACEMENT) - text.count(_REPLACEMENT)
            self._replaced("lone surrogates replaced by U+FFFD", num_lone, place)
            return clean
        return text

    def _without_nul(self, text: str, place: str) -> str:
        self._replaced("NUL characters replaced by U+FFFD", text.count("\0"), place)
        return text.replace("\0", _REPLACEMENT)

    def _without_mark(self, text: str) -> str:
        self._report.count("byte-order marks dropped", int(text.startswith(_MARK)))
        return text.lstrip(_MARK)

    def _replaced(self, what: str, number: int, place: str) -> None:
        self._report.count(what, number)
        self._num_replaced += number
        if number:
            self._judge(place, FEW_REPLACED)

    def _judge(self, place: str, few: int) -> None:
        bad = self._num_replaced
        if bad > few and bad > MOST_REPLACED * self._num_chars:
            raise ValueError(
                f"{self._at(place)} is not UTF-8 text: {bad} of {self._num_chars} characters had "
                "to be replaced: is it binary, or in another encoding (iconv converts it)?"
            )

    def _not(self, encoding: str, error: UnicodeDecodeError, place: str) -> ValueError:
        return ValueError(
            f"{self._at(place)}: expected {encoding}, as the byte-order mark says, found "
            f"{error.reason}: is the file damaged or cut short?"
        )

    def _at(self, place: str) -> str:
        return f"{self._where}, {place}" if place else self._where


def _wide_encoding(head: bytes) -> str | None:
    return next((name for mark, name in _WIDE.items() if head.startswith(mark)), None)
