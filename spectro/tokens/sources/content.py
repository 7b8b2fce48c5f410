"""Decompresses files by their content, whatever their name.

gzip (all members), zstd (all frames, also skippable ones, windows up to 2 GiB), bzip2 and xz (all
streams, with padding) are read as a stream; trailing bytes of another kind are refused. Formats
that hold no plain text are refused by name.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from spectro.tokens.sources.remote import SourceFile

HEAD_BYTES = 512
COMPRESSED_ENDINGS = (".gz", ".zst", ".zstd", ".bz2", ".xz")
MAX_ZSTD_WINDOW = 2**31
_INPUT_BYTES = {"zstd": 8192, "bzip2": 512, "xz": 512}
"""Compressed bytes read at once: one may expand to 32 KiB."""
_BUFFER_BYTES = 1 << 18
_XZ = lzma.FORMAT_XZ

_COMPRESSIONS = {
    "gzip": rb"\x1f\x8b\x08",
    "zstd": rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18",
    "bzip2": rb"BZh[1-9](1AY&SY|\x17rE8P\x90)",
    "xz": rb"\xfd7zXZ\x00",
}
_OTHER_FORMATS = {
    "a Git LFS pointer, not the file itself (git lfs pull gets it)": rb"version https://git-lfs\.",
    "lz4": rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18",
    "compress (.Z)": rb"\x1f[\x9d\xa0]",
    "a zip archive (.zip, .docx, .xlsx, .epub)": rb"PK(\x03\x04|\x05\x06)",
    "a 7z archive": rb"7z\xbc\xaf\x27\x1c",
    "a rar archive": rb"Rar!\x1a\x07",
    "a tar archive": rb"(?s).{257}ustar",
    "Parquet": rb"PAR1[\x15-\x19]",
    "Arrow IPC": rb"ARROW1\x00",
    "Avro": rb"Obj\x01",
    "an SQLite database": rb"SQLite format 3\x00",
    "a PDF": rb"%PDF-[0-9]",
    "RTF": rb"\{\\rtf1",
    "an image": rb"\x89PNG\r|GIF8[79]a|\xff\xd8\xff",
}


@contextmanager
def opened(file: SourceFile) -> Iterator[io.BufferedReader]:
    """Stream of a file's decompressed bytes; `peek(HEAD_BYTES)` gives its head.

    Raises ValueError, naming the file, if it cannot be read, is not a regular file, is damaged or
    cut short, or holds no plain text.
    """
    where, kind = shown(file), None
    try:
        with _raw(file) as raw:
            kind = _first(_COMPRESSIONS, raw.peek(HEAD_BYTES))
            with _decompressed(raw, kind) as stream:
                if found := _first(_OTHER_FORMATS, stream.peek(HEAD_BYTES)):
                    within = f" within {kind}" if kind else ""
                    raise ValueError(f"{where}: expected text, found {found}{within}")
                yield stream
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise ValueError(_failure(where, kind, error)) from error


def _raw(file: SourceFile) -> io.BufferedReader:
    if not isinstance(file, Path):
        return io.BufferedReader(cast("io.RawIOBase", file.open()), _BUFFER_BYTES)
    if not stat.S_ISREG(os.stat(file).st_mode):
        raise ValueError(
            f"{shown(file)} is not a regular file (folder, pipe, socket or device): expected one"
        )
    return io.BufferedReader(io.FileIO(file), _BUFFER_BYTES)


def shown(file: SourceFile | str) -> str:
    """A path or URL for messages: bytes that are not UTF-8 are escaped."""
    return str(file).encode("utf-8", "backslashreplace").decode()


def _failure(where: str, kind: str | None, error: Exception) -> str:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if kind is None:
        return f"{where} cannot be read: {reason}"
    return f"{where}: expected {kind}, found {reason}: is the file damaged or cut short?"


def _first(patterns: dict[str, bytes], head: bytes) -> str | None:
    return next((name for name, pattern in patterns.items() if re.match(pattern, head)), None)


def _decompressed(raw: io.BufferedReader, kind: str | None) -> io.BufferedReader:
    if kind is None:
        return raw
    if kind == "gzip":
        return io.BufferedReader(cast("io.RawIOBase", gzip.open(raw)), _BUFFER_BYTES)
    return io.BufferedReader(_Frames(raw, kind), _BUFFER_BYTES)


def _new_frame(kind: str) -> Callable[[], Any]:
    """Decompressor of one frame or stream: `decompress`, `eof` and `unused_data`."""
    if kind == "zstd":
        return zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW).decompressobj
    return bz2.BZ2Decompressor if kind == "bzip2" else partial(lzma.LZMADecompressor, _XZ)


class _Frames(io.RawIOBase):
    """All frames of a file in sequence.

    zstandard's `stream_reader` ends silently in a cut frame, `bz2.open` and `lzma.open` before
    trailing bytes. Raises EOFError for an incomplete last frame, and the formats' own errors.
    """

    def __init__(self, raw: IO[bytes], kind: str) -> None:
        super().__init__()
        self._raw = raw
        self._new_frame = _new_frame(kind)
        self._input_bytes = _INPUT_BYTES[kind]
        self._padding = b"\0" if kind == "xz" else b""
        self._frame: Any = None
        self._input = b""
        self._output = memoryview(b"")

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as possible."""
        filled = 0
        while filled < len(buffer) and (self._output or self._advance()):
            part = self._output[: len(buffer) - filled]
            buffer[filled : filled + len(part)] = part
            self._output, filled = self._output[len(part) :], filled + len(part)
        return filled

    def _advance(self) -> bool:
        """Decompress until there is output; False at the end."""
        while not self._output:
            self._input = self._input or self._raw.read(self._input_bytes)
            if not self._input:
                if self._frame is not None:
                    raise EOFError("the end of the file within a frame")
                return False
            if self._frame is None and self._padding:
                self._input = self._input.lstrip(self._padding)
                if not self._input:
                    continue
            self._frame = self._frame or self._new_frame()
            self._output = memoryview(self._frame.decompress(self._input))
            self._input = self._frame.unused_data if self._frame.eof else b""
            self._frame = None if self._frame.eof else self._frame
        return True
