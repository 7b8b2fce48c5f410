"""What a driver tells: beats and failures to storage, numbers to Ray's metrics, lines to the log.

Nothing depends on it: storage that cannot be written for a while must not stop the run, so errors
are logged and the next beat tries again.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from spectro.formats.sessions import (
    Failure,
    Heartbeat,
    RunningUnit,
    SessionLog,
    StageCount,
    put_failure,
)
from spectro.storage.store import Store
from spectro.work.metrics import Metrics
from spectro.work.outcome import Outcome, Pool, UnitResult, WorkerCounts
from spectro.work.unit_queue import StageTally, UnitQueue
from spectro.work.units import label

logger = logging.getLogger(__name__)
TOLD = 200
"""Failures of one session that storage is told of; a storm of them is only counted."""


class Journal:
    """One invocation's beats and failures.

    Args:
        store: of the run.
        device: device type of the workers.
        beat_seconds: from beat to beat.
        metrics: where numbers go beside.
    """

    def __init__(
        self, store: Store, *, device: str, beat_seconds: float, metrics: Metrics | None = None
    ) -> None:
        self._store, self._device, self._beat_seconds = store, device, beat_seconds
        self._metrics = metrics or Metrics(store.uri)
        self._log = SessionLog(store)
        self._boards: list[UnitQueue] = []
        self._counts: Counter[str] = Counter()
        self._started, self._number = time.time(), 0
        self._last = float("-inf")
        self._is_closing = self._is_cut_off = False
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._writing: Future[None] | None = None

    @property
    def session(self) -> str:
        """Id of this invocation."""
        return self._log.session

    def opened(self, board: UnitQueue) -> None:
        """More units are to be done."""
        self._boards.append(board)

    def failed(self, outcome: Outcome) -> None:
        """A unit was not done."""
        self._counts[outcome.fate] += 1
        self._metrics.undone(outcome)
        told = {"unit": outcome.unit_id, "worker": outcome.worker or "-"}
        level = logging.INFO if outcome.fate is UnitResult.HANDED_BACK else logging.WARNING
        logger.log(
            level,
            "unit %s %s by %s: %s",
            outcome.unit_id,
            outcome.fate,
            outcome.worker or "nobody",
            outcome.error,
            extra=told,
        )
        if outcome.trace:
            logger.debug("unit %s failed:\n%s", outcome.unit_id, outcome.trace, extra=told)
        if outcome.fate is UnitResult.HANDED_BACK or self._counts.total() > TOLD:
            return
        failure = Failure(
            unit=outcome.unit_id,
            kind=str(outcome.fate),
            message=outcome.error,
            trace=outcome.trace,
            worker=outcome.worker,
            session=self.session,
            time=time.time(),
        )
        self._writer.submit(self._safely, put_failure, self._store, failure)

    def beat_if_due(self, pool: Pool, running: Sequence[RunningUnit]) -> None:
        """Put a beat if the last one is old and written."""
        due = time.monotonic() - self._last >= self._beat_seconds
        if due and (self._writing is None or self._writing.done()):
            self.beat(pool, running=running)

    def beat(
        self, pool: Pool, *, running: Sequence[RunningUnit] = (), ended: str | None = None
    ) -> None:
        """Put a beat now."""
        census = pool.census()
        beat = self._made(census, running, ended)
        self._last = time.monotonic()
        self._number += 1
        self._metrics.state(census, beat.stages)
        self._writing = self._writer.submit(self._safely, self._log.put, beat)

    def close(self, pool: Pool, ended: str) -> None:
        """The last beat, unless there was nothing to do; waits until it is written.

        Once storage does not answer any more nothing else is waited for: GPUs are still held.
        """
        self._is_closing = True
        if self._number or any(board.stages for board in self._boards):
            self.beat(pool, ended=ended)
        self._writer.shutdown(wait=True)

    def _made(
        self, census: WorkerCounts, running: Sequence[RunningUnit], ended: str | None
    ) -> Heartbeat:
        counts = _counts(self._boards, {unit.unit: unit.share for unit in running})
        return Heartbeat(
            session=self.session,
            number=self._number,
            started=self._started,
            time=time.time(),
            host=socket.gethostname(),
            process=os.getpid(),
            ended=ended,
            device=self._device,
            num_workers=census.num_workers,
            worker_seconds=census.worker_seconds,
            stages=counts,
            running=tuple(running),
            lost=self._counts[UnitResult.CRASHED] + self._counts[UnitResult.PREEMPTED],
            handed_back=self._counts[UnitResult.HANDED_BACK],
            errors=self._counts[UnitResult.FAILED] + self._counts[UnitResult.REFUSED],
            set_aside={u: why for board in self._boards for u, why in board.set_aside.items()},
        )

    def _safely(self, call: object, *arguments: object) -> None:
        if self._is_closing and self._is_cut_off:
            return
        try:
            call(*arguments)  # type: ignore[operator]
            self._is_cut_off = False
        except Exception as error:  # noqa: BLE001 - the run must not end for want of a beat
            self._is_cut_off = True
            logger.warning("could not be told to storage: %s", error)


def _counts(boards: Sequence[UnitQueue], shares: Mapping[str, float]) -> dict[str, StageCount]:
    """Stages of all boards together; running units count by the share that is done."""
    sums: dict[str, StageTally] = defaultdict(StageTally)
    for board in boards:
        for name, tally in board.stages.items():
            for field in dataclasses.fields(tally):
                total = getattr(sums[name], field.name) + getattr(tally, field.name)
                setattr(sums[name], field.name, total)
        for unit_id, unit in board.running.items():
            sums[label(unit)].done_cost += shares.get(unit_id, 0.0) * unit.cost
    return {name: StageCount(**dataclasses.asdict(tally)) for name, tally in sums.items()}
