"""Node-local memory-mapped cache: files made once per machine and shared by its processes.

A folder is made under a lock by its first user and complete once its marker exists; others wait. A
process killed while making one leaves no marker, and the next starts again. A `NodeCache` is held
until `close`; nobody removes a held one. Locks are `flock`s, which end with the process; their
files are beside the folder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from spectro.storage.locations import local_path

WHOLE = "whole"
"""Marker of a complete folder."""
LOCK = ".lock"
OLD_SECONDS = 7 * 24 * 3600.0
"""Age of caches of ended runs that are removed."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)


class NodeCache:
    """A held cache folder; a context manager.

    Args:
        base: parent folder; None: the system's folder for temporary files.
        name: a key of everything that the content depends on.
    """

    def __init__(self, base: str | None, name: str) -> None:
        root = Path(tempfile.gettempdir() if base is None else local_path(base, "scratch"))
        self.folder = root / f"spectro-scratch-{os.getuid()}" / name
        self._hold: IO[str] | None = None

    def __enter__(self) -> NodeCache:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def made(self, name: str, make: Callable[[Path], None]) -> Path:
        """A subfolder, made by `make` if missing.

        Raises OSError, naming the folder, if it cannot be written.
        """
        target = self.folder / name
        try:
            if self._hold is None:
                self._hold = _locked(_lock_of(self.folder), fcntl.LOCK_SH)
            if (target / WHOLE).exists():
                return target
            with self._making(name):
                if not (target / WHOLE).exists():
                    self.remove_old()
                    shutil.rmtree(target, ignore_errors=True)
                    target.mkdir(parents=True)
                    make(target)
                    (target / WHOLE).touch()
        except OSError as error:
            if error.errno in NO_ROOM and self._is_ours(error.filename):
                raise OSError(
                    f"scratch folder {target} cannot be written ({error.strerror}): is the disk "
                    "full? give run.scratch a folder with more room"
                ) from error
            raise
        return target

    def remove_old(self) -> None:
        """Remove old caches of other runs."""
        for other in self.folder.parent.glob(f"*{LOCK}"):
            with suppress(OSError):  # another process removes it at the same time
                folder = other.with_suffix("")
                touched = [path.stat().st_mtime for path in (other, folder) if path.exists()]
                if folder != self.folder and touched and time.time() - max(touched) > OLD_SECONDS:
                    _remove(folder)

    def remove(self) -> None:
        """Release it, and remove it unless another process holds it.

        Mapped files stay until unmapped.
        """
        self.close()
        with suppress(OSError):
            _remove(self.folder)

    def close(self) -> None:
        """Release it."""
        if self._hold is not None:
            self._hold.close()
            self._hold = None

    def _is_ours(self, filename: object) -> bool:
        """Whether an error concerns this folder; one without a name is of a file being written."""
        return filename is None or str(filename).startswith(str(self.folder.parent))

    @contextmanager
    def _making(self, name: str) -> Iterator[None]:
        with _locked(_lock_of(self.folder, name), fcntl.LOCK_EX):
            yield


def _lock_of(folder: Path, name: str = "") -> Path:
    """Lock file of a scratch folder, or of making one of its subfolders."""
    return folder.with_name(f"{folder.name}{'+' if name else ''}{name}{LOCK}")


def _locked(path: Path, kind: int) -> IO[str]:
    """The open lock file, locked; closing it unlocks. BlockingIOError with LOCK_NB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = open(path, "a")  # noqa: SIM115 - the lock lives as long as the file is open
        try:
            fcntl.flock(file, kind)
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # removed by its last holder meanwhile


def _remove(folder: Path) -> None:
    """Remove a folder and its locks; BlockingIOError if it is held."""
    with _locked(_lock_of(folder), fcntl.LOCK_EX | fcntl.LOCK_NB):
        shutil.rmtree(folder, ignore_errors=True)
        for lock in folder.parent.glob(f"{folder.name}+*{LOCK}"):
            lock.unlink(missing_ok=True)
        _lock_of(folder).unlink(missing_ok=True)
