"""Stop conditions of a run: a signal, the deadline, no progress."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from spectro.work.progress import clock as shown


class StopConditions:
    """Reasons to stop. Times are seconds of the driver's clock.

    Args:
        now: the clock at the start.
        deadline_seconds: the run stops so long after its start; None: never.
        idle_seconds: the run stops when nothing has moved for so long; None: never.
        drain_seconds: how long workers may take to hand their units back.
    """

    def __init__(
        self,
        now: float,
        *,
        deadline_seconds: float | None = None,
        idle_seconds: float | None = None,
        drain_seconds: float = 90.0,
    ) -> None:
        self.drain_seconds = drain_seconds
        self.requested = threading.Event()
        """Set when the run is asked to stop."""
        self._deadline_seconds, self._idle_seconds = deadline_seconds, idle_seconds
        self._started = self._last_moved = now
        self._shares: dict[str, float] = {}

    def moved(self, now: float) -> None:
        """Record progress."""
        self._last_moved = now

    def shares(self, shares: Mapping[str, float], now: float) -> None:
        """Record how far running units are; any change is progress."""
        if shares != self._shares:
            self._shares = dict(shares)
            self.moved(now)

    def reason(self, now: float) -> str | None:
        """Why the run is to stop, in one line; None while it is to go on."""
        if self.requested.is_set():
            return "asked to stop (SIGTERM); the same command resumes where this stopped"
        limit = self._deadline_seconds
        if limit is not None and now - self._started >= limit:
            return (
                f"run.deadline_hours reached after {shown(now - self._started)}; the same command "
                "resumes where this stopped"
            )
        still = now - self._last_moved
        if self._idle_seconds is not None and still >= self._idle_seconds:
            return (
                f"nothing has moved for {shown(still)} (run.idle_minutes): no worker came, or a "
                "unit hangs; its workers are released. `spectro status` names what was running"
            )
        return None


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
