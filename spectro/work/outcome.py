"""Unit outcomes and the worker-pool protocol, shared by driver, pools and workers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from spectro.formats.sessions import RunningUnit
from spectro.work.units import Unit

MAX_FAILED_STARTS = 5
"""Processes in a row that may die before they are ready; then no more are started."""


class UnitResult(StrEnum):
    """How a unit ended."""

    DONE = "done"
    FAILED = "failed"
    """It raised an error; counts against its retry budget for errors."""
    REFUSED = "refused"
    """It raised a deterministic error (bad input, a chain that diverges), which is not retried."""
    MISSING = "missing"
    """An object that it needs is not there, although it was listed."""
    CRASHED = "crashed"
    """Its worker died on a machine that is alive; counts against its retry budget for crashes."""
    PREEMPTED = "preempted"
    """Its worker's machine was taken away; counts against no budget."""
    HANDED_BACK = "handed back"
    """Its worker was asked to stop and returned it; counts against no budget."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a unit ended, and where."""

    unit_id: str
    """Which."""
    result: UnitResult = UnitResult.DONE
    """How it ended."""
    seconds: float = 0.0
    """What it took."""
    worker: str = ""
    """Host and process of its worker."""
    error: str = ""
    """One line, unless it is done."""
    trace: str = ""
    """Its traceback, for the log."""


@dataclass(frozen=True, kw_only=True)
class WorkerCounts:
    """Workers of a pool."""

    num_workers: int
    """Workers with the model resident."""
    num_starting: int
    """Workers that are being started, or wait for a machine."""
    worker_seconds: float
    """Time of all workers since they were ready, idle or not."""


class Pool(Protocol):
    """Workers that run units; they may join and leave at any time."""

    def adjust(self, units_left: int) -> None:
        """Start or stop workers, to fit the cluster and the units that are left."""
        ...

    def idle(self) -> int:
        """How many units can be submitted now."""
        ...

    def submit(self, unit: Unit) -> None:
        """Start a unit on an idle worker."""
        ...

    def wait(self, seconds: float) -> list[Outcome]:
        """Outcomes since the last call, after at most so long."""
        ...

    def running(self) -> list[RunningUnit]:
        """Running units, with the share done as last reported."""
        ...

    def request_stop(self) -> None:
        """Ask all workers to hand their units back."""
        ...

    def worker_counts(self) -> WorkerCounts:
        """How many workers there are."""
        ...
