"""Documents of a text group: files matched by globs, cleaned, de-duplicated, split by hash."""

import glob
import gzip
import hashlib
import sysconfig
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from spectro.pretrain.config import TextGroup
from spectro.tokens.keys import keyed_rng


@dataclass(frozen=True, kw_only=True)
class GroupText:
    """The documents of one group, each in exactly one of the two parts."""

    train: list[str]
    """Documents that are trained on."""
    heldout: list[str]
    """Documents that are never trained on."""


def matching_files(name: str, group: TextGroup) -> list[Path]:
    """Sorted files of a group's globs. Raises FileNotFoundError for a glob that matches none."""
    paths = sysconfig.get_paths()
    files: set[Path] = set()
    for pattern in group.globs:
        expanded = pattern.replace("{stdlib}", paths["stdlib"]).replace("{site}", paths["purelib"])
        found = {Path(p) for p in glob.glob(expanded, recursive=True)}
        found = {p for p in found if p.is_file() and not p.is_symlink()}
        if not found:
            raise FileNotFoundError(
                f"group {name!r}: expected files matching {pattern!r}, found none: "
                "is the package that carries them installed?"
            )
        files |= found
    return sorted(files)


def read_pieces(path: Path, piece_bytes: int, max_pieces: int) -> Iterator[str]:
    """Documents of a plain or gzipped file: pieces of about `piece_bytes`, ended at a line break.

    Nothing is yielded from the first piece on that is binary. Raises OSError for a broken gzip.
    """
    opener = gzip.open if path.suffix in {".gz", ".dz"} else open
    try:
        with opener(path, "rb") as handle:
            for _ in range(max_pieces):
                raw = bytes(handle.read(piece_bytes)) + bytes(handle.readline(piece_bytes))
                text = raw.decode("utf-8", errors="replace")
                if b"\0" in raw or text.count("\ufffd") > 0.01 * len(text) + 4:
                    return
                if text.strip():
                    yield text
                if len(raw) < piece_bytes:
                    return
    except (OSError, EOFError, zlib.error) as error:
        raise OSError(f"{path}: expected a readable text file, found {error}") from error


def is_heldout(text: str, permille: int) -> bool:
    """Whether a document belongs to the held-out part: by its own text, whatever its group."""
    digest = hashlib.blake2b(text.encode("utf-8", errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest) % 1000 < permille


def _documents(files: Iterable[Path], piece_bytes: int, max_pieces: int) -> Iterator[str]:
    for path in files:
        yield from read_pieces(path, piece_bytes, max_pieces)


def read_group(
    name: str, group: TextGroup, *, seed: int, document_bytes: int, permille: int, seen: set[bytes]
) -> GroupText:
    """Read a group in keyed random file order until `max_chars` characters are held.

    `seen` holds digests of all documents read so far, over groups: a text is used once.
    """
    files = matching_files(name, group)
    order = keyed_rng(seed, "files", name).permutation(len(files))
    train: list[str] = []
    heldout: list[str] = []
    num_chars = 0
    ordered = (files[i] for i in order)
    for text in _documents(ordered, document_bytes, group.max_pieces_per_file):
        digest = hashlib.blake2b(text.encode("utf-8", errors="replace")).digest()
        if digest in seen:
            continue
        seen.add(digest)
        (heldout if is_heldout(text, permille) else train).append(text)
        num_chars += len(text)
        if num_chars >= group.max_chars:
            break
    if not train:
        raise ValueError(f"group {name!r}: {len(files)} files matched but none holds usable text")
    return GroupText(train=train, heldout=heldout)
