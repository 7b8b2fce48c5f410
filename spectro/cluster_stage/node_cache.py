"""Files of one machine: made once, mapped by all of its processes, never the only copy of anything.

A folder is made under a lock by whoever needs it first and counts when its marker is there;
the others wait. A process killed while making one leaves a folder without a marker, which the next
begins anew. Whoever uses a `NodeCache` holds it until `close`: nobody removes what another holds.
Locks are the system's (`flock`), so that they end with the process; their files lie beside the
folder, never in it.
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

from spectro.storage.places import local_path

WHOLE = "whole"
"""Marker of a folder that is made."""
LOCK = ".lock"
OLD_SECONDS = 7 * 24 * 3600.0
"""Scratch that nothing has been made in for so long belongs to a run that has ended."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)


class NodeCache:
    """A folder of this machine; a context, which is held until its end.

    Args:
        base: where; None: the system's folder for temporary files.
        name: all that its content depends on; the same name is the same folder for all processes.
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
        """A subfolder, made by `make` if nobody has made it.

        Raises OSError, naming the folder, where it cannot be written.
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
        """Remove what other runs have left on this machine."""
        for other in self.folder.parent.glob(f"*{LOCK}"):
            with suppress(OSError):  # another process removes it at the same time
                folder = other.with_suffix("")
                touched = max(path.stat().st_mtime for path in (other, folder) if path.exists())
                if folder != self.folder and time.time() - touched > OLD_SECONDS:
                    _remove(folder)

    def remove(self) -> None:
        """Let go of it, and remove all of it unless another process holds it.

        Files that are mapped stay until they are not.
        """
        self.close()
        with suppress(OSError):
            _remove(self.folder)

    def close(self) -> None:
        """Let go of it: what was made may go once nobody holds it."""
        if self._hold is not None:
            self._hold.close()
            self._hold = None

    def _is_ours(self, filename: object) -> bool:
        """Whether an error is of this folder; one without a name is of a file that is written."""
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
        file.close()  # removed by its last holder since we opened it


def _remove(folder: Path) -> None:
    """Remove a folder and its locks; BlockingIOError if somebody holds it."""
    with _locked(_lock_of(folder), fcntl.LOCK_EX | fcntl.LOCK_NB):
        shutil.rmtree(folder, ignore_errors=True)
        for lock in folder.parent.glob(f"{folder.name}+*{LOCK}"):
            lock.unlink(missing_ok=True)
        _lock_of(folder).unlink(missing_ok=True)
