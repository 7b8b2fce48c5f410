"""Lines of a log: every one names the run, the unit and the worker that it comes from.

What is current is kept for the process, not for the thread: a worker does one unit at a time, and
threads that the unit starts (reading ahead, writing behind) log under its name.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from spectro.storage.credentials import redact

FORMAT = (
    "%(asctime)s %(levelname)s run=%(run)s unit=%(unit)s worker=%(worker)s %(name)s: %(message)s"
)
LOGGERS = ("spectro", "jobs")
NOBODY = "-"
DRIVER = "driver"


@dataclass
class _Current:
    """What the process is doing."""

    run: str = NOBODY
    unit: str = NOBODY
    worker: str = NOBODY


_current = _Current()


class AddContext(logging.Filter):
    """Adds `run`, `unit` and `worker` to each record that does not bring its own (`extra=`)."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`; lets everything pass."""
        for name in ("run", "unit", "worker"):
            if not hasattr(record, name):
                setattr(record, name, getattr(_current, name))
        return True


class LineFormatter(logging.Formatter):
    """`FORMAT`, without credentials, wherever in the message or the traceback they stand."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        return redact(super().format(record))


def prepare(handler: logging.Handler) -> logging.Handler:
    """Give a handler the format and the context; returns it."""
    handler.setFormatter(LineFormatter())
    handler.addFilter(AddContext())
    return handler


@contextmanager
def run_and_worker(run: str, worker: str = DRIVER) -> Iterator[None]:
    """Records come from this run and worker while the block lasts."""
    before = (_current.run, _current.worker)
    _current.run, _current.worker = run, worker
    try:
        yield
    finally:
        _current.run, _current.worker = before


@contextmanager
def unit(unit_id: str) -> Iterator[None]:
    """Records come from this unit while the block lasts."""
    before, _current.unit = _current.unit, unit_id
    try:
        yield
    finally:
        _current.unit = before


def configure_worker_logging(run: str, worker: str, level: int = logging.INFO) -> None:
    """Log to stderr, which Ray collects, in the name of a worker process; may be called again.

    Args:
        run: uri of the run.
        worker: its name, such as that of the actor and its node.
        level: least level that is written.
    """
    _current.run, _current.worker = run, worker
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = False
        for old in [h for h in logger.handlers if isinstance(h, _WorkerHandler)]:
            logger.removeHandler(old)
        logger.addHandler(prepare(_WorkerHandler(sys.stderr)))


class _WorkerHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Its own class, to be found when logging is configured again."""
