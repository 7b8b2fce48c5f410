"""What becomes of a unit, and who does the work: what driver, pools and workers agree on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from spectro.formats.sessions import RunningUnit
from spectro.work.units import Unit

MAX_STILLBORN = 5
"""Processes in a row that may die before they can work; then no more are started."""


class UnitResult(StrEnum):
    """How a unit ended."""

    DONE = "done"
    FAILED = "failed"
    """It raised; counts against its errors."""
    REFUSED = "refused"
    """It raised what it would raise anywhere: bad input, a chain that diverges. Not tried again."""
    MISSING = "missing"
    """An object that it needs is not there, whatever the listing said."""
    CRASHED = "crashed"
    """Its worker died on a machine that lives on; counts against its crashes."""
    PREEMPTED = "preempted"
    """Its worker's machine went; counts against nothing."""
    HANDED_BACK = "handed back"
    """Its worker was told to leave and gave it back; counts against nothing."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a unit."""

    unit_id: str
    """Which."""
    fate: UnitResult = UnitResult.DONE
    """How it ended."""
    seconds: float = 0.0
    """What it took."""
    worker: str = ""
    """Who did it."""
    error: str = ""
    """One line, unless it is done."""
    trace: str = ""
    """Its traceback, for the log."""


@dataclass(frozen=True, kw_only=True)
class WorkerCounts:
    """Who is at work."""

    num_workers: int
    """Workers with the model resident."""
    num_coming: int
    """Workers that are being started, or wait for a machine."""
    worker_seconds: float
    """Time of all workers since they came, idle or not."""


class Pool(Protocol):
    """Those who do the work; they may join and leave at any time."""

    def tend(self, units_left: int) -> None:
        """Fit the workers to the cluster and to the work that is left."""
        ...

    def idle(self) -> int:
        """How many units can be given out now."""
        ...

    def submit(self, unit: Unit) -> None:
        """Give out a unit."""
        ...

    def wait(self, seconds: float) -> list[Outcome]:
        """Outcomes since the last call, after at most so long."""
        ...

    def running(self) -> list[RunningUnit]:
        """Units being done, with the share done as last heard."""
        ...

    def leave(self) -> None:
        """Tell all workers to hand their units back."""
        ...

    def census(self) -> WorkerCounts:
        """Who is at work."""
        ...
