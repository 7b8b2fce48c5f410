"""A run's log: `<run>/logs/<time>-<letters>.log`, each line with run, unit and worker.

Nothing is written before the run's own `run.yaml` is there: a refused configuration leaves no
trace. On a local disk lines appear as they come; elsewhere objects cannot be appended to, so the
log is kept on this machine and put once, when the session ends. A log that cannot be put never
fails a run.
"""

from __future__ import annotations

import logging
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spectro.formats.run_dir import NAME
from spectro.storage.store import Store
from spectro.work import logs
from spectro.work.errors import StoppedError

logger = logging.getLogger(__name__)
FOLDER = "logs"


@contextmanager
def run_log(store: Store) -> Iterator[None]:
    """Log everything of this project to the run's folder while the block lasts."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}.log"
    with logs.run_and_worker(store.uri):
        if store.is_local:
            folder = Path(store.root)
            with _handled(_WaitingFile(folder / FOLDER / name, needs=folder / NAME)):
                yield
            return
        with tempfile.TemporaryDirectory(prefix="spectro-log-") as scratch:
            path = Path(scratch) / name
            try:
                with _handled(logging.FileHandler(path, encoding="utf-8")):
                    yield
            finally:
                _put(store, path)


@contextmanager
def _handled(handler: logging.Handler) -> Iterator[None]:
    """All records of the project go to a handler while the block lasts."""
    logs.prepare(handler)
    loggers = [logging.getLogger(name) for name in logs.LOGGERS]
    for own in loggers:
        own.setLevel(logging.DEBUG)
        own.addHandler(handler)
        own.propagate = False
    try:
        yield
    except StoppedError as stopped:
        logger.info("%s", stopped)
        raise
    except Exception:
        logger.exception("the run ended with an error")
        raise
    finally:
        for own in loggers:
            own.removeHandler(handler)
            own.propagate = True
        handler.close()


def _put(store: Store, path: Path) -> None:
    """Put a session's log, if the run has begun and storage takes it."""
    try:
        if store.exists(NAME):
            store.put(f"{FOLDER}/{path.name}", path.read_bytes())
    except Exception as error:
        logger.warning("the log could not be put to %s: %s", store.uri, error)


class _WaitingFile(logging.Handler):
    """Keeps records until the folder is a run's, then writes them and what follows."""

    def __init__(self, path: Path, needs: Path) -> None:
        super().__init__()
        self._path, self._needs = path, needs
        self._waiting: list[logging.LogRecord] = []
        self._file: logging.FileHandler | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        if self._file is None and self._needs.exists():
            self._path.parent.mkdir(exist_ok=True)
            self._file = logging.FileHandler(self._path, encoding="utf-8")
            self._file.setFormatter(self.formatter)
        self._waiting.append(record)
        if self._file is not None:
            for waiting in self._waiting:
                self._file.emit(waiting)
            self._waiting.clear()

    def close(self) -> None:
        """See `logging.Handler`."""
        if self._file is not None:
            self._file.close()
        super().close()
