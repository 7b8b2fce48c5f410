"""`spectro status run.uri=<run>`: how far a run is, from storage alone, also while it goes on."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from dataclasses import dataclass, field
from enum import Enum

from rich.console import Console

from jobs.launch import launch
from jobs.look import StoredRun
from jobs.stored import stored_config
from spectro.inspect.status import Status, read_status
from spectro.storage.store import Store
from spectro.work.progress import clock


class StatusFormat(Enum):
    """How it is told."""

    TEXT = "text"
    """For people."""
    JSON = "json"
    """One object on one line."""


@dataclass(frozen=True, kw_only=True)
class StatusConfig:
    """How a status is told."""

    format: StatusFormat = StatusFormat.TEXT
    """`text`, or `json`: one object a line."""
    every_seconds: float | None = None
    """Tell it again after so long, until the run no longer goes on; > 0. None: once."""

    def __post_init__(self) -> None:
        if self.every_seconds is not None and not self.every_seconds > 0:
            raise ValueError(f"status.every_seconds must be > 0, found {self.every_seconds}")


@dataclass(frozen=True, kw_only=True)
class StatusJob:
    """Which run, and how it is told."""

    run: StoredRun
    """Its folder."""
    status: StatusConfig = field(default_factory=StatusConfig)
    """How it is told."""


def main() -> int:
    """Compose, tell; returns the exit status."""
    return launch("status", "status_job", StatusJob, _status)


def _status(job: StatusJob) -> None:
    console, store, config = Console(soft_wrap=True), Store(job.run.uri), stored_config(job.run.uri)
    while True:
        status = read_status(store, config)
        if job.status.format is StatusFormat.JSON:
            print(json.dumps(as_dict(status), ensure_ascii=False), flush=True)
        else:
            for line in lines(status):
                console.print(line, highlight=False, markup=False)
        if job.status.every_seconds is None or status.state != "running":
            return
        time.sleep(job.status.every_seconds)


def as_dict(status: Status) -> dict[str, object]:
    """The same as plain values."""
    return {**dataclasses.asdict(status), "units": status.units, "done": status.done}


def lines(status: Status) -> list[str]:
    """The status in lines."""
    total = f"{status.done} of {status.units} units done" if status.tokens_known else (
        f"{status.done} units done; how many there are is known when the tokens are there"
    )  # fmt: skip
    told = [f"run {status.uri}: {status.state}, {total}", status.driver]
    for name, stage in status.stages.items():
        left = "" if stage.done == stage.units else f"  {_left(stage.left_seconds)}"
        told.append(f"  {name:<18} {stage.done:>7} / {stage.units:<7}{left}".rstrip())
    if status.done < status.units:
        pace = "" if status.units_per_hour is None else f" at {status.units_per_hour:.0f} units/h"
        told.append(_left(status.left_seconds) + (pace if status.left_seconds is not None else ""))
    told.append(_cost(status))
    beat = status.beat
    if beat is not None:
        told.append(
            f"{beat.num_workers} workers; units lost {beat.lost}, handed back {beat.handed_back}, "
            f"errors {beat.errors}"
        )
        told += [
            f"  running  {unit.unit}  {unit.share:.0%}  {clock(unit.seconds)}  on {unit.worker}"
            for unit in (beat.running if beat.ended is None else ())
        ]
        told += [f"  set aside  {unit}: {why}" for unit, why in beat.set_aside.items()]
    told += [f"  {f.kind}  {f.unit}  on {f.worker}: {f.message}" for f in status.failures]
    return told


def _left(seconds: float | None) -> str:
    return "time left unknown" if seconds is None else f"{clock(seconds)} left"


def _cost(status: Status) -> str:
    gpus = f", {status.gpu_hours:.2f} of them on GPUs" if status.gpu_hours else ""
    return f"{status.worker_hours:.2f} worker-hours so far{gpus}"


if __name__ == "__main__":
    sys.exit(main())
