"""Copies of remote files and folders, made once per machine and shared by its processes.

A copy's name is a digest of the URL and of every file's size and version (ETag), so that what is
put anew is copied anew; it is complete or absent (`node_cache.py`). Copies that no process holds
are removed after a week.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from spectro.storage.node_cache import NodeCache
from spectro.storage.remote_files import RemoteFile, opened_url

COPIES_AT_ONCE = 4
"""Files of a folder that are fetched at a time."""
_held: dict[tuple[str | None, str], NodeCache] = {}
"""Caches in use by this process, held until it ends."""


@dataclass(frozen=True)
class SharedFile(RemoteFile):
    """A remote file that can be copied to this machine."""

    scratch: str | None = None
    """Parent folder of the copies; None: the system's folder for temporary files."""

    def local(self) -> str:
        """The path of a copy; errors as `local_folder`."""
        name = self.url.rpartition("/")[2]
        return str(_copied(self.url, {name: self}, self.scratch) / name)


def open_url(url: str, scratch: str | None) -> dict[str, SharedFile]:
    """Files at a URL by their names below it, '' for the URL itself; errors as `local_folder`."""
    return {
        name: SharedFile(**vars(file), scratch=scratch)
        for name, file in opened_url(url).files().items()
    }


def local_folder(
    url: str, scratch: str | None, wanted: Callable[[str], bool] = lambda name: True
) -> str:
    """The path of a copy of a folder.

    Args:
        url: of the folder.
        scratch: parent folder of the copies; None: the system's folder for temporary files.
        wanted: which files, by their names below the folder.

    Raises FileNotFoundError if there is no such folder or no wanted file in it; PermissionError,
    ValueError, OSError, in one line.
    """
    files = {name: file for name, file in opened_url(url).files().items() if name and wanted(name)}
    if not files:
        raise FileNotFoundError(f"{url}: expected a folder with files, found none")
    return str(_copied(url, files, scratch))


def _copied(url: str, files: Mapping[str, RemoteFile], scratch: str | None) -> Path:
    names = [(name, file.size_bytes, file.version) for name, file in sorted(files.items())]
    key = f"copy-{hashlib.sha256(repr((url, names)).encode()).hexdigest()[:24]}"
    cache = _held.setdefault((scratch, key), NodeCache(scratch, key))

    def make(folder: Path) -> None:
        def copy(name: str) -> None:
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{url} has a file named {name!r}, which is outside its folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            files[name].copy_to(str(target))

        with ThreadPoolExecutor(COPIES_AT_ONCE, thread_name_prefix="copy") as threads:
            list(threads.map(copy, files))

    return cache.made("files", make)
