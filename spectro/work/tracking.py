"""Sends status, bill and figures of a run to experiment trackers (`run.trackers`).

Trackers receive every heartbeat, from a separate thread: a server that hangs or refuses must
neither end a run nor hold its GPUs. What cannot be delivered is logged; a tracker that fails is
not called again. Nothing is opened before the first heartbeat.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from spectro.formats.gpu_time import SECONDS_PER_HOUR, gpu_time
from spectro.formats.sessions import Heartbeat
from spectro.storage.credentials import redact, redacted
from spectro.work.trackers import TRACKERS, Tracker

logger = logging.getLogger(__name__)
CLOSE_SECONDS = 60.0
"""How long the last deliveries may take at the end of an invocation, when its workers are gone."""
WAITING = 8
"""Heartbeats that may wait for slow trackers; further ones are dropped."""
Numbers = Mapping[str, float]
Findings = Callable[[], Iterable[tuple[str, bytes] | Numbers]]


class TrackedRun:
    """The trackers of one invocation.

    Args:
        names: of the trackers; none: nothing is done.
        uri: of the run.
        settings: plain values, groups in groups.
        earlier: the last heartbeat of every earlier session, oldest first.
        findings: what a finished run is shown by: numbers, and pictures as (name, PNG).
    """

    def __init__(
        self,
        names: Sequence[str],
        uri: str,
        settings: Mapping[str, Any],
        earlier: Sequence[Heartbeat] = (),
        findings: Findings = tuple,
    ) -> None:
        self._names, self._uri, self._settings = names, uri, settings
        self._earlier, self._findings = earlier, findings
        self._seconds_before = sum(beat.time - beat.started for beat in earlier)
        self._open: dict[str, Tracker] | None = None
        self._step = 0
        self._calls: queue.Queue[Callable[[], None] | None] = queue.Queue(maxsize=WAITING)
        self._thread = threading.Thread(target=self._deliver, name="trackers", daemon=True)

    def observe(self, heartbeat: Heartbeat, waiting_seconds: float) -> None:
        """Queue a heartbeat of this session."""
        if not self._names:
            return
        if self._thread.ident is None:
            self._thread.start()
        try:
            self._calls.put_nowait(lambda: self._beat(heartbeat, waiting_seconds))
        except queue.Full:
            logger.warning("trackers are slow: a heartbeat was not sent")

    def ended(self, line: str) -> None:
        """The invocation has ended: `done`, `stopped: …`, `failed: …`; waits for the deliveries."""
        if self._thread.ident is None:
            return
        try:
            self._calls.put(lambda: self._close(line), timeout=CLOSE_SECONDS)
            self._calls.put(None, timeout=CLOSE_SECONDS)
        except queue.Full:
            logger.warning("trackers do not answer: the end of the run was not reported to them")
            return
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            logger.warning("trackers have not finished within %.0f seconds", CLOSE_SECONDS)

    def _deliver(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def _beat(self, heartbeat: Heartbeat, waiting_seconds: float) -> None:
        self._step = round(self._seconds_before + heartbeat.time - heartbeat.started)
        if self._open is None:
            self._connect(heartbeat)
        found = numbers_of(heartbeat, self._earlier, waiting_seconds)
        self._each(lambda tracker: tracker.numbers(found, self._step))

    def _connect(self, heartbeat: Heartbeat) -> None:
        """Open the trackers under the name of the run's first session."""
        key = (self._earlier[0] if self._earlier else heartbeat).session
        name = redact(self._uri).rstrip("/").rpartition("/")[2]
        known = dict(_flat(redacted(self._settings)))
        self._open = {}
        for each in self._names:
            try:
                self._open[each] = TRACKERS[each][0](name, key, redact(self._uri))
            except Exception as error:  # noqa: BLE001 - the run must not end for want of a tracker
                _log(each, error)
        self._each(lambda tracker: tracker.settings(known))

    def _close(self, line: str) -> None:
        if line == "done":
            try:
                for found in self._findings():
                    self._show(found)
            except Exception as error:  # noqa: BLE001 - as above
                logger.warning("findings are not shown to trackers: %s", redact(str(error)))
        self._each(lambda tracker: tracker.close(redact(line)))

    def _show(self, found: tuple[str, bytes] | Numbers) -> None:
        """A picture, or numbers."""
        if isinstance(found, tuple):
            name, png = found
            self._each(lambda tracker: tracker.picture(name, png, self._step))
        else:
            self._each(lambda tracker: tracker.numbers(found, self._step))

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list((self._open or {}).items()):
            try:
                call(tracker)
            except Exception as error:  # noqa: BLE001 - as above
                _log(name, error)
                assert self._open is not None
                del self._open[name]
                with suppress(Exception):
                    tracker.close("not followed to its end")


def numbers_of(
    beat: Heartbeat, earlier: Sequence[Heartbeat], waiting_seconds: float
) -> dict[str, float]:
    """Progress by stage (0 to 1), workers, failures, and the bill of all invocations."""
    used = gpu_time([*earlier, beat])
    done = sum(stage.done for stage in beat.stages.values())
    found = {
        f"progress/{name.replace(': ', '.')}": stage.done_cost / stage.cost
        for name, stage in beat.stages.items()
        if stage.cost
    }
    found |= {
        "units/done": done,
        "units/left": sum(stage.units for stage in beat.stages.values()) - done,
        "units/errors": beat.errors,
        "units/lost": beat.lost,
        "units/set_aside": len(beat.set_aside),
        "workers/number": beat.num_workers,
        "workers/gpus": beat.num_gpus,
        "workers/waiting_seconds": waiting_seconds,
        "bill/worker_hours": sum(b.worker_seconds for b in [*earlier, beat]) / SECONDS_PER_HOUR,
        "bill/gpu_hours_held": used.held_seconds / SECONDS_PER_HOUR,
        "bill/gpu_hours_worked": used.worked_seconds / SECONDS_PER_HOUR,
    }
    if used.cost is not None:
        found["bill/cost"] = used.cost
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def _flat(values: Any, name: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted names; lists whole."""
    if not isinstance(values, Mapping):
        yield name, values
        return
    for key, value in values.items():
        yield from _flat(value, f"{name}.{key}" if name else str(key))


def _log(name: str, error: Exception) -> None:
    why = f"{type(error).__name__}: {redact(str(error))}"
    logger.warning("tracker %s failed and is not called again: %s", name, why)
