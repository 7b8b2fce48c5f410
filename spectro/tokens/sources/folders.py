"""Files of a folder or glob, local or at a URL: one rule for text folders, JSON lines and Parquet.

- Subfolders are read if the pattern says so (`**`), all of them without a pattern.
- Links are followed; every real file and folder is read once, under its own path. A link to an
  enclosing folder is not followed; a dangling one is reported.
- Hidden names (`.git`, `.cache`, `.DS_Store`; in JSON lines and Parquet also `_SUCCESS`,
  `_temporary`) and the caches of `SKIPPED_NAMES` are skipped, unless given explicitly or the
  pattern
  spells their first character.
- Of a file and its compressed copies (`a.jsonl`, `a.jsonl.zst`) one is read, the plain one first.
- Pipes, sockets and devices are never opened.
- The order is that of the paths, name by name, by code points.

Skipped files are counted. Extensions match in capitals too; patterns do not.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path

from spectro.tokens.sources.content import COMPRESSED_ENDINGS, shown
from spectro.tokens.sources.remote import OpenUrl, SourceFile, UrlFile, is_url, no_urls
from spectro.tokens.sources.source_report import SourceReport

SKIPPED_NAMES = frozenset(
    ("__pycache__", "__MACOSX", "node_modules", "CVS", "_darcs", "lost+found", "Thumbs.db",
     "desktop.ini", "$RECYCLE.BIN", "System Volume Information")
)  # fmt: skip
HIDDEN, HIDDEN_IN_TABLES = (".",), (".", "_")
VERSION_LOGS = frozenset(("_delta_log", ".hoodie"))
"""Tables whose folder may hold files of old versions."""
MOST_NAMED = 3
"""Skipped names in notes."""

Pattern = tuple[str, ...]
Identity = tuple[int, int] | str


@dataclass(frozen=True, kw_only=True)
class _File:
    parts: tuple[str, ...]
    """Path below the root, name by name."""
    path: str
    linked: bool
    """Whether reached through a link."""
    identity: Identity
    """Equal for two paths of one file."""


@dataclass(frozen=True, kw_only=True)
class _Folder:
    parts: tuple[str, ...]
    path: str
    linked: bool
    patterns: frozenset[Pattern]
    """Rest of the pattern to match below it, in each possible way."""


def files_at(
    path: str, endings: tuple[str, ...], report: SourceReport, open_url: OpenUrl = no_urls
) -> list[SourceFile]:
    """Files of a path or URL: a file, a folder (by extension, any depth) or a glob.

    Raises FileNotFoundError if there is none; ValueError for a folder that cannot be listed, a
    pipe, socket or device.
    """
    found = (
        _of_url(path, endings, report, open_url)
        if is_url(path)
        else _of_path(path, endings, report)
    )
    if not found:
        names = [ending for ending in endings if not ending.endswith(COMPRESSED_ENDINGS)]
        raise FileNotFoundError(
            f"expected a file, a folder with {' or '.join(names)} files, or a glob that "
            f"matches some; found none at {shown(path)}{report.in_brackets}"
        )
    return found


def _of_path(path: str, endings: tuple[str, ...], report: SourceReport) -> list[SourceFile]:
    place = Path(path).expanduser()
    if os.path.isfile(place):
        return [place]
    is_folder = os.path.isdir(place)
    if os.path.exists(place) and not is_folder:
        raise ValueError(f"{shown(place)} is a pipe, socket or device: expected a file or folder")
    root, pattern, wanted = place, "**/*", endings
    if not is_folder:
        magic = _first_magic(place.parts)
        root, pattern = Path(*place.parts[:magic]), "/".join(place.parts[magic:])
        wanted = ()
    walk = _Walk(report, HIDDEN_IN_TABLES, wanted)
    return [*walk.files(root, pattern)] if pattern else []


def _of_url(
    url: str, endings: tuple[str, ...], report: SourceReport, open_url: OpenUrl
) -> list[SourceFile]:
    found = open_url(url)  # a key may have the characters of a glob
    if "" in found:
        return [found[""]]
    if found:
        return _Walk(report, HIDDEN_IN_TABLES, endings).remote_files(found, "**/*")
    scheme, _, rest = url.partition("://")
    parts = rest.split("/")
    magic = _first_magic(parts)
    if not 0 < magic < len(parts):
        return []
    below = open_url(f"{scheme}://{'/'.join(parts[:magic])}")
    return _Walk(report, HIDDEN_IN_TABLES, ()).remote_files(below, "/".join(parts[magic:]))


def _first_magic(parts: Sequence[str]) -> int:
    """Which part of a path is the first with the characters of a glob."""
    return next((i for i, part in enumerate(parts) if has_magic(part)), len(parts))


def files_in(
    root: Path | str, pattern: str, report: SourceReport, open_url: OpenUrl = no_urls
) -> list[SourceFile]:
    """Files of a folder, local or at a URL, that match a pattern, maybe none.

    Raises FileNotFoundError if there is no folder, ValueError for one that cannot be listed.
    """
    walk, url = _Walk(report, HIDDEN, ()), str(root)
    if is_url(url):
        found = {name: file for name, file in open_url(url).items() if name}
        if found:
            return walk.remote_files(found, pattern)
    elif (folder := Path(root).expanduser()).is_dir():
        return [*walk.files(folder, pattern)]
    raise FileNotFoundError(f"text_folder source: expected a folder at {url}, found none")


@dataclass
class _Walk:
    """A walk through a folder, links last, so that files keep their own path."""

    report: SourceReport
    hidden: tuple[str, ...]
    """First characters of hidden names."""
    endings: tuple[str, ...]
    """Wanted extensions; empty: all."""
    found: list[_File] = field(default_factory=list)

    def files(self, root: Path, pattern: str) -> list[Path]:
        """The files in order."""
        if not os.path.isdir(root):
            return []
        parts = tuple(part for part in pattern.split("/") if part not in ("", "."))
        first = _Folder(parts=(), path=str(root), linked=False, patterns=frozenset([parts]))
        own, links = [first], deque[_Folder]()
        seen: set[tuple[object, ...]] = set()
        around = {identity_of(str(above)) for above in Path(os.path.realpath(root)).parents}
        while own or links:
            folder = own.pop() if own else links.popleft()
            identity = identity_of(folder.path)
            key = (identity, folder.patterns)
            if key in seen or identity in around:
                self.report.count("links to folders already read, or around this one, skipped")
                continue
            seen.add(key)
            for below in reversed(list(self._below(folder))):
                (links.appendleft if below.linked and not folder.linked else own.append)(below)
        return [Path(file.path) for file in self._without_copies(self._once())]

    def remote_files(self, found: Mapping[str, UrlFile], pattern: str) -> list[SourceFile]:
        """Those of the files below a URL that match, in order; there are no links."""
        whole = tuple(part for part in pattern.split("/") if part not in ("", "."))
        for name in found:
            parts = tuple(name.split("/"))
            patterns = frozenset([whole])
            for number, part in enumerate(parts, start=1):
                patterns = self._matched(patterns, part)
                if self._is_hidden(part) and not patterns:
                    self.report.count("files of hidden or cache names skipped")
                    break
                if number < len(parts) and not patterns - {()}:
                    self.report.count("files of subfolders left")
                    break
            else:
                if self._is_wanted(parts[-1], patterns):
                    file = _File(parts=parts, path=name, linked=False, identity=name)
                    self.found.append(file)
                else:
                    self.report.count("other files left")
        return [found[file.path] for file in self._without_copies(self._once())]

    def _below(self, folder: _Folder) -> Iterator[_Folder]:
        """Count or keep every entry of a folder; yields subfolders to walk."""
        try:
            with os.scandir(folder.path) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            where = shown(Path(folder.path))
            raise ValueError(f"{where} cannot be listed: {error.strerror}") from error
        for entry in listed:
            patterns = self._matched(folder.patterns, entry.name)
            status = self._status(entry, patterns)
            if status is None:
                continue
            parts, linked = (*folder.parts, entry.name), folder.linked or entry.is_symlink()
            if stat.S_ISDIR(status.st_mode):
                deeper = patterns - {()}
                if deeper:
                    yield _Folder(parts=parts, path=entry.path, linked=linked, patterns=deeper)
                else:
                    self.report.count("subfolders left")
            elif not self._is_wanted(entry.name, patterns):
                self.report.count("other files left")
            elif not stat.S_ISREG(status.st_mode):
                self.report.count("pipes, sockets and devices skipped")
            else:
                own = identity_of(entry.path, status)
                file = _File(parts=parts, path=entry.path, linked=linked, identity=own)
                self.found.append(file)

    def _status(
        self, entry: os.DirEntry[str], patterns: frozenset[Pattern]
    ) -> os.stat_result | None:
        """Status of an entry or its target; None, counted, if hidden or dangling."""
        if self._is_hidden(entry.name) and not patterns:
            is_folder = entry.is_dir()
            self.report.count(f"hidden or cache {'folders' if is_folder else 'files'} skipped")
            if entry.name in VERSION_LOGS:
                within = os.path.dirname(entry.path)
                self.report.note(
                    f"{within} is a table with versions: files of old ones are read too"
                )
            return None
        try:
            return entry.stat()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                where = shown(Path(entry.path))
                raise ValueError(f"{where} cannot be read: {error.strerror}") from error
        self._skip("dangling links skipped", f"{entry.path} is a link that leads nowhere")
        return None

    def _skip(self, what: str, sentence: str) -> None:
        self.report.count(what)
        if self.report.counts[what] <= MOST_NAMED:
            self.report.note(sentence)

    def _is_hidden(self, name: str) -> bool:
        return name.startswith(self.hidden) or name in SKIPPED_NAMES

    def _is_wanted(self, name: str, patterns: frozenset[Pattern]) -> bool:
        return () in _open(patterns) and name.lower().endswith(self.endings or ("",))

    def _matched(self, patterns: frozenset[Pattern], name: str) -> frozenset[Pattern]:
        """Rest of the patterns after a name."""
        hidden, left = self._is_hidden(name), set()
        for pattern in _open(patterns):
            head = pattern[0] if pattern else None
            if head == "**" and not hidden:
                left.add(pattern)
            elif head is None or not fnmatchcase(name, head):
                continue
            elif not hidden or head[:1] == name[:1]:
                left.add(pattern[1:])
        return frozenset(left)

    def _once(self) -> list[_File]:
        """Every real file once, sorted by path."""
        kept: dict[Identity, _File] = {}
        for file in sorted(self.found, key=lambda file: (file.linked, file.parts)):
            if kept.setdefault(file.identity, file) is not file:
                self.report.count("links to files already read skipped")
        return sorted(kept.values(), key=lambda file: file.parts)

    def _without_copies(self, files: Iterable[_File]) -> Iterator[_File]:
        """One of the files that differ only in the extension of their compression: the plain one.

        Sorted paths have `a.jsonl` before `a.jsonl.gz`.
        """
        kept: dict[str, _File] = {}
        for file in files:
            plain, ending = os.path.splitext(file.path)
            name = plain if ending.lower() in COMPRESSED_ENDINGS else file.path
            if kept.setdefault(name, file) is file:
                yield file
            else:
                sentence = f"{file.path} was taken for a copy of {kept[name].path}"
                self._skip("compressed copies skipped", sentence)


def identity_of(path: str, status: os.stat_result | None = None) -> Identity:
    """Device and inode; the real path without inodes."""
    found = status or os.stat(path)
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)


def _open(patterns: frozenset[Pattern]) -> set[Pattern]:
    """The patterns, also without leading `**`, which match no folder too."""
    found = set(patterns)
    for pattern in patterns:
        while pattern and pattern[0] == "**":
            pattern = pattern[1:]
            found.add(pattern)
    return found
