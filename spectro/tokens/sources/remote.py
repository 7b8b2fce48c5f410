"""Files at URLs as readers of text see them; storage gives the function that opens one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class UrlFile(Protocol):
    """A file at a URL; `str` is the URL."""

    @property
    def size_bytes(self) -> int:
        """Length of the file."""

    def open(self) -> BinaryIO:
        """A seekable stream."""

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Bytes start … stop − 1 of each range, all of one version of the file."""

    def local(self) -> str:
        """The path of a copy on this machine."""


OpenUrl = Callable[[str], Mapping[str, UrlFile]]
"""URL → files by their names below it, '' if it is a file itself; empty if there is none."""
SourceFile = Path | UrlFile


def no_urls(url: str) -> Mapping[str, UrlFile]:
    """The `OpenUrl` of readers that were given none."""
    raise ValueError(f"{url} is a URL: expected a path of this machine")


def is_url(path: str) -> bool:
    """Whether a source's path is a URL."""
    return _URL.match(path) is not None
