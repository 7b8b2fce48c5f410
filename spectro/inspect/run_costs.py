"""What a run has cost, will cost, and has left of its limits, from its heartbeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spectro.formats.gpu_time import SECONDS_PER_HOUR, gpu_time, job_seconds
from spectro.formats.sessions import Heartbeat
from spectro.work.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class RunCosts:
    """GPU time and money of a run; None is not known, or no limit."""

    gpu_hours_held: float
    """Of all invocations, from the start of workers to their end: what is paid for."""
    gpu_hours_worked: float
    """Of it, in units."""
    gpu_hours_waited: float
    """Of it, without a unit."""
    cost: float | None
    """Price of what was held."""
    expected_gpu_hours: float | None
    """Held when the last unit that needs a GPU is done, at the pace of this session."""
    expected_cost: float | None
    """Price of that."""
    gpu_hours_left: float | None
    """Of `run.max_gpu_hours`."""
    cost_left: float | None
    """Of `run.max_cost`."""
    deadline_left_seconds: float | None
    """Of `run.deadline_hours`."""

    @property
    def worked_share(self) -> float | None:
        """Share of the time held that was worked; None where none was held."""
        return self.gpu_hours_worked / self.gpu_hours_held if self.gpu_hours_held else None


def run_costs(
    beats: Sequence[Heartbeat], limits: RunConfig, gpu_left_seconds: float | None, now: float
) -> RunCosts:
    """Costs of a run.

    Args:
        beats: the last heartbeat of every session, oldest first.
        limits: of the run.
        gpu_left_seconds: time left of the stages that need the model; None: not known.
        now: seconds since the epoch.
    """
    time = gpu_time(beats)
    held = time.held_seconds / SECONDS_PER_HOUR
    beat = max(beats, key=lambda b: b.time, default=None)
    more = _expected_gpu_hours(beat, gpu_left_seconds)
    price = None if beat is None else beat.price_per_gpu_hour
    more_cost = None if more is None or price is None or time.cost is None else more * price
    return RunCosts(
        gpu_hours_held=held,
        gpu_hours_worked=time.worked_seconds / SECONDS_PER_HOUR,
        gpu_hours_waited=time.waited_seconds / SECONDS_PER_HOUR,
        cost=time.cost,
        expected_gpu_hours=None if more is None else held + more,
        expected_cost=None if more_cost is None or time.cost is None else time.cost + more_cost,
        gpu_hours_left=_left(limits.max_gpu_hours, held),
        cost_left=None if time.cost is None else _left(limits.max_cost, time.cost),
        deadline_left_seconds=_deadline_left(beats, beat, limits, now),
    )


def _left(limit: float | None, used: float) -> float | None:
    return None if limit is None else max(0.0, limit - used)


def _expected_gpu_hours(beat: Heartbeat | None, left_seconds: float | None) -> float | None:
    """GPU-hours still to come: the time left, on as many GPUs as the session has held."""
    if beat is None or left_seconds is None or beat.time <= beat.started:
        return None
    return (
        left_seconds * gpu_time([beat]).held_seconds / (beat.time - beat.started) / SECONDS_PER_HOUR
    )


def _deadline_left(
    beats: Sequence[Heartbeat], beat: Heartbeat | None, limits: RunConfig, now: float
) -> float | None:
    """Time until the deadline: of a job over all its attempts, else of the last invocation."""
    if limits.deadline_hours is None or beat is None:
        return None
    used = job_seconds(beats, beat.job) if beat.job else beat.time - beat.started
    used += 0.0 if beat.ended is not None else now - beat.time
    return max(0.0, limits.deadline_hours * SECONDS_PER_HOUR - used)
