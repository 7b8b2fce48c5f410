"""A folder of text files: one document per file, in the order of their paths."""

import glob
import logging
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)


def decode(raw: bytes) -> tuple[str, int]:
    """Text of UTF-8 bytes, and how many characters had to be replaced."""
    text = raw.decode("utf-8", errors="replace")
    return text, text.count("\ufffd") - raw.count(b"\xef\xbf\xbd")


def warn_of_replaced(where: str, num_bad: int) -> None:
    """Say once how many characters were not UTF-8."""
    if num_bad:
        logger.warning("%s: %d characters are not UTF-8 and were replaced", where, num_bad)


def matching_paths(path: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Sorted files of a file, a folder (by ending, any depth) or a glob.

    Raises FileNotFoundError when there is none.
    """
    root = Path(path).expanduser()
    if root.is_file():
        return [root]
    if root.is_dir():
        found = [p for p in root.rglob("*") if p.name.endswith(suffixes) and p.is_file()]
    else:
        found = [Path(p) for p in glob.glob(str(root), recursive=True) if Path(p).is_file()]
    if not found:
        raise FileNotFoundError(
            f"expected a file, a folder with {' or '.join(suffixes)} files, or a glob that "
            f"matches some; found none at {path}"
        )
    return sorted(found)


def read_text_folder(path: str, pattern: str) -> Iterator[str]:
    """Documents of a folder. Raises FileNotFoundError for a missing or empty folder."""
    root = Path(path).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"text_folder source: expected a folder at {path}, found none")
    files = sorted(p for p in root.glob(pattern) if p.is_file())
    if not files:
        raise FileNotFoundError(f"text_folder source: no file matches {pattern!r} in {path}")
    return _read_files(files, path)


def _read_files(files: list[Path], path: str) -> Iterator[str]:
    num_bad = 0
    try:
        for file in files:
            text, bad = decode(file.read_bytes())
            num_bad += bad
            yield text
    finally:
        warn_of_replaced(path, num_bad)
