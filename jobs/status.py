"""How far a run is: units done by stage, pace and time left, workers, what they wait for, failures,
GPU-hours held, worked and waited, what they cost so far and at the end, what is left of the run's
limits, and when its driver was last seen.

Reads storage alone, so it works from any machine that sees the run, while it goes on and after.

  spectro status runs/demo
  spectro status s3://bucket/run status.every_seconds=10    until the run ends
  spectro status s3://bucket/run status.format=json         one object a line
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum

from spectro.formats.sessions import Heartbeat
from spectro.inspect.status import Status, read_status
from spectro.storage.store import Store
from spectro.work.progress import clock

from .command import Command
from .output import plain, print_json, say
from .reading import StoredRun
from .stored import stored_config


class StatusFormat(Enum):
    """Output format."""

    TEXT = "text"
    """For people."""
    JSON = "json"
    """One object on one line."""


@dataclass(frozen=True, kw_only=True)
class StatusConfig:
    """How a status is printed."""

    format: StatusFormat = StatusFormat.TEXT
    """`text`, or `json`: one object a line."""
    every_seconds: float | None = None
    """Print it again at this interval, until the run ends; > 0. None: once."""

    def __post_init__(self) -> None:
        if self.every_seconds is not None and not self.every_seconds > 0:
            raise ValueError(f"status.every_seconds must be > 0, found {self.every_seconds}")


@dataclass(frozen=True, kw_only=True)
class StatusJob:
    """Settings of `spectro status`."""

    run: StoredRun = field(default_factory=StoredRun)
    """Which run."""
    status: StatusConfig = field(default_factory=StatusConfig)
    """How it is printed."""


def _status(job: StatusJob) -> None:
    store, config = Store(job.run.uri), stored_config(job.run.uri)
    while True:
        status = read_status(store, config)
        if job.status.format is StatusFormat.JSON:
            print_json(as_dict(status), indent=None)
        else:
            say(*lines(status))
        if job.status.every_seconds is None or status.state != "running":
            return
        time.sleep(job.status.every_seconds)


COMMAND = Command(
    name="status", config=StatusJob, run=_status,
    usage="<run> [status.key=value ...]", positional=("run.uri",),
)  # fmt: skip
main = COMMAND.main


def as_dict(status: Status) -> dict[str, object]:
    """Plain values."""
    return {**plain(status), "units": status.units, "done": status.done}


def lines(status: Status) -> list[str]:
    """The status in lines."""
    total = f"{status.done} of {status.units} units done" if status.tokens_known else (
        f"{status.done} units done; how many there are is known when the tokens are there"
    )  # fmt: skip
    found = [f"run {status.uri}: {status.state}, {total}", status.driver]
    for name, stage in status.stages.items():
        left = "" if stage.done == stage.units else f"  {_left(stage.left_seconds)}"
        found.append(f"  {name:<18} {stage.done:>7} / {stage.units:<7}{left}".rstrip())
    if status.done < status.units:
        pace = "" if status.units_per_hour is None else f" at {status.units_per_hour:.0f} units/h"
        found.append(_left(status.left_seconds) + (pace if status.left_seconds is not None else ""))
    found += cost_lines(status)
    beat = status.beat
    if beat is not None:
        found.append(_workers(beat))
        found += [f"waiting: {status.waiting}"] if status.waiting else []
        found += [
            f"  running  {unit.unit}  {unit.share:.0%}  {clock(unit.seconds)}  on {unit.worker}"
            for unit in (beat.running if beat.ended is None else ())
        ]
        found += [f"  set aside  {unit}: {why}" for unit, why in beat.set_aside.items()]
    return found + [f"  {f.kind}  {f.unit}  on {f.worker}: {f.message}" for f in status.failures]


def _left(seconds: float | None) -> str:
    return "time left unknown" if seconds is None else f"{clock(seconds)} left"


def cost_lines(status: Status) -> list[str]:
    """Worker-hours, GPU-hours and money so far and at the end, and what is left of the limits."""
    costs, found = status.costs, [f"{status.worker_hours:.2f} worker-hours so far"]
    if costs.worked_share is not None:
        found.append(
            f"{costs.gpu_hours_held:.2f} GPU-hours held so far: {costs.gpu_hours_worked:.2f} "
            f"worked ({costs.worked_share:.0%}), {costs.gpu_hours_waited:.2f} waited"
            + _of("cost", costs.cost)
        )
        if costs.expected_gpu_hours is not None and status.done < status.units:
            found.append(
                f"{costs.expected_gpu_hours:.2f} GPU-hours expected at the end, at this pace"
                + _of("cost", costs.expected_cost)
            )
    left = [
        f"{value} of {name}"
        for name, value in (
            ("run.max_gpu_hours", _amount(costs.gpu_hours_left)),
            ("run.max_cost", _amount(costs.cost_left)),
            ("run.deadline_hours", _time(costs.deadline_left_seconds)),
        )
        if value is not None
    ]
    return [*found, f"left: {', '.join(left)}"] if left else found


def _of(what: str, amount: float | None) -> str:
    return "" if amount is None else f", {what} {amount:.2f}"


def _amount(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else clock(seconds)


def _workers(beat: Heartbeat) -> str:
    """Workers and GPUs now, and what became of units."""
    starting = f", {beat.num_starting} starting" if beat.num_starting else ""
    gpus = f", {beat.num_gpus:g} GPUs held" if beat.num_gpus else ""
    return (
        f"{beat.num_workers} workers{starting}{gpus}; units lost {beat.lost}, handed back "
        f"{beat.handed_back}, errors {beat.errors}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
