"""GPU time of a run over all its invocations, from their heartbeats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from spectro.formats.sessions import Heartbeat

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class GpuTime:
    """GPU time of all invocations of a run."""

    held_seconds: float
    """From the start of the workers' processes to their end: what is paid for."""
    worked_seconds: float
    """Of it, in units, done or not."""
    cost: float | None
    """Of the time held; None if no invocation names a price."""

    @property
    def waited_seconds(self) -> float:
        """Held and not worked: starts of workers, and waiting for units."""
        return max(0.0, self.held_seconds - self.worked_seconds)


def gpu_time(beats: Iterable[Heartbeat]) -> GpuTime:
    """GPU time of these invocations, the last heartbeat of each, oldest first.

    Invocations from before GPU time was recorded count the time of their CUDA workers as held and
    that in finished units as worked; those without a price have the latest that is named.
    """
    sessions = list(beats)
    prices = [beat.price_per_gpu_hour for beat in sessions if beat.price_per_gpu_hour is not None]
    held = [_held(beat) for beat in sessions]
    cost = sum(
        seconds * (prices[-1] if beat.price_per_gpu_hour is None else beat.price_per_gpu_hour)
        for beat, seconds in zip(sessions, held, strict=True)
        if prices
    )
    return GpuTime(
        held_seconds=sum(held),
        worked_seconds=sum(_worked(beat) for beat in sessions),
        cost=cost / SECONDS_PER_HOUR if prices else None,
    )


def job_seconds(beats: Iterable[Heartbeat], job: str | None) -> float:
    """Wall time of the invocations that are attempts of a job (`run.job`), as far as they were
    seen; 0 without a job."""
    return sum(beat.time - beat.started for beat in beats if job is not None and beat.job == job)


def _held(beat: Heartbeat) -> float:
    if beat.gpu_seconds_held is not None:
        return beat.gpu_seconds_held
    return beat.worker_seconds if beat.device == "cuda" else 0.0


def _worked(beat: Heartbeat) -> float:
    if beat.gpu_seconds_held is not None or beat.device != "cuda":
        return beat.gpu_seconds_worked
    return sum(stage.seconds for stage in beat.stages.values())
