"""A run's log file: `<run>/logs/<time>.log`, for runs on a local disk.

Nothing is written before the run's own `run.yaml` is there: a refused configuration leaves no
trace. Records until then are kept in memory.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spectro.storage.fs import Store
from spectro.storage.run_dir import NAME

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextmanager
def run_log(store: Store) -> Iterator[None]:
    """Log everything of this project to the run's folder while the block lasts."""
    if not store.is_local:
        yield
        return
    handler = _RunLog(Path(store.root))
    handler.setFormatter(logging.Formatter(FORMAT))
    loggers = [logging.getLogger(name) for name in ("spectro", "jobs")]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    except Exception:
        logging.getLogger(__name__).exception("the run ended with an error")
        raise
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True
        handler.close()


class _RunLog(logging.Handler):
    """Keeps records until the folder is a run's, then writes them and what follows."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._waiting: list[logging.LogRecord] = []
        self._file: logging.FileHandler | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        if self._file is None and (self._folder / NAME).exists():
            path = self._folder / "logs" / time.strftime("%Y%m%d-%H%M%S.log")
            path.parent.mkdir(exist_ok=True)
            self._file = logging.FileHandler(path)
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
