"""Stop conditions of a run: a signal, its limits, no progress."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from spectro.work.errors import LimitReachedError, StoppedError
from spectro.work.progress import clock as shown


@dataclass(frozen=True, kw_only=True)
class RunLimits:
    """RunLimits of a run, and what earlier invocations have used of them. None: no limit."""

    deadline_seconds: float | None = None
    """Time of all attempts of a job."""
    seconds_before: float = 0.0
    """Time of its earlier attempts."""
    gpu_seconds: float | None = None
    """GPU time that workers hold, of all invocations."""
    gpu_seconds_before: float = 0.0
    """Of the earlier ones."""
    gpu_limit: str = "run.max_gpu_hours"
    """Setting that limits GPU time: that, or `run.max_cost`."""


class StopConditions:
    """Reasons to stop. Times are seconds of the driver's clock.

    Args:
        now: the clock at the start.
        limits: of time and GPU time.
        idle_seconds: the run stops when nothing has moved for so long; None: never.
        drain_seconds: how long workers may take to hand their units back.
    """

    def __init__(
        self,
        now: float,
        *,
        limits: RunLimits | None = None,
        idle_seconds: float | None = None,
        drain_seconds: float = 90.0,
    ) -> None:
        self.drain_seconds = drain_seconds
        self.requested = threading.Event()
        """Set when the run is asked to stop."""
        self._limits, self._idle_seconds = limits or RunLimits(), idle_seconds
        self._started = self._last_moved = now
        self._gpu_seconds = 0.0
        self._shares: dict[str, float] = {}

    def moved(self, now: float) -> None:
        """Record progress, or that nothing is held that could make any."""
        self._last_moved = now

    def shares(self, shares: Mapping[str, float], now: float) -> None:
        """Record how far running units are; any change is progress."""
        if shares != self._shares:
            self._shares = dict(shares)
            self.moved(now)

    def held(self, gpu_seconds: float) -> None:
        """Record the GPU time of this invocation."""
        self._gpu_seconds = gpu_seconds

    def error(self, now: float) -> StoppedError | None:
        """Why the run is to stop, in one line; None while it is to go on."""
        if self.requested.is_set():
            return StoppedError(
                "asked to stop (SIGTERM); the same command resumes where this stopped"
            )
        return self._limit_reached(now) or self._idle(now)

    def _limit_reached(self, now: float) -> LimitReachedError | None:
        limits = self._limits
        used = limits.seconds_before + now - self._started
        if limits.deadline_seconds is not None and used >= limits.deadline_seconds:
            attempts = " of all attempts" if limits.seconds_before else ""
            return LimitReachedError(
                f"run.deadline_hours reached after {shown(used)}{attempts}; the same command with "
                "a later one resumes where this stopped"
            )
        used = limits.gpu_seconds_before + self._gpu_seconds
        if limits.gpu_seconds is not None and used >= limits.gpu_seconds:
            return LimitReachedError(
                f"{limits.gpu_limit} reached: workers have held GPUs for {used / 3600:.2f} hours "
                f"of {limits.gpu_seconds / 3600:.2f}; the same command with a higher limit resumes "
                "where this stopped"
            )
        return None

    def _idle(self, now: float) -> StoppedError | None:
        still = now - self._last_moved
        if self._idle_seconds is None or still < self._idle_seconds:
            return None
        return StoppedError(
            f"nothing has moved for {shown(still)} (run.idle_minutes): a unit hangs, or a worker "
            "while it starts; its workers are released. `spectro status` names what was running"
        )


@contextmanager
def on_sigterm(requested: threading.Event) -> Iterator[None]:
    """While the block lasts SIGTERM sets an event; only the main thread may handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def request(number: int, frame: FrameType | None) -> None:
        requested.set()

    before = signal.signal(signal.SIGTERM, request)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
