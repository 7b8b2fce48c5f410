"""Unit outcomes and the worker-pool protocol, shared by driver, pools and workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from spectro.formats.sessions import RunningUnit
from spectro.work.units import Unit
from spectro.work.worker_kinds import Demand, WorkerKind

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
    """Its worker's machine was taken away with notice; counts against no budget."""
    LOST = "lost"
    """Its worker's machine went without notice: taken away, or killed by what the unit needs;
    counts against its retry budget for losses unless it had come further than before."""
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
    share: float = 0.0
    """Share done as last reported, where its worker is gone."""
    error: str = ""
    """One line, unless it is done."""
    trace: str = ""
    """Its traceback, for the log."""


@dataclass(frozen=True, kw_only=True)
class WorkerCounts:
    """Workers of a pool."""

    num_workers: int
    """Workers that are ready."""
    num_starting: int
    """Workers that are being started, or wait for a machine."""
    worker_seconds: float
    """Time of all workers since they were ready, idle or not."""
    num_gpus: float = 0.0
    """GPUs held now."""
    gpu_seconds_held: float = 0.0
    """GPU time from the start of workers' processes to their end."""
    gpu_seconds_worked: float = 0.0
    """Of it, in units."""
    waiting: str = ""
    """Which kind of worker ready units wait for, and how long; empty: none."""
    waiting_seconds: float = 0.0
    """How long there has been no worker of that kind."""
    none_has_a_machine: bool = False
    """Whether units are ready and no worker has a machine: a queue or an autoscaler is waited for,
    and nothing is paid."""


class Pool(Protocol):
    """Workers that run units; they may join and leave at any time."""

    def kind_of(self, unit: Unit) -> WorkerKind:
        """Which workers do a unit."""
        ...

    def adjust(self, demand: Demand) -> None:
        """Start or stop workers, to fit the cluster and the units."""
        ...

    def idle(self) -> Mapping[WorkerKind, int]:
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
