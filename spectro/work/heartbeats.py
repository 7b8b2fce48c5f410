"""Heartbeats and failures of a driver: to storage, Ray's metrics and the log.

Nothing depends on them: storage that cannot be written for a while must not stop the run, so errors
are logged and the next heartbeat tries again.
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
from typing import Protocol

from spectro.formats.sessions import (
    Failure,
    Heartbeat,
    RunningUnit,
    SessionLog,
    StageCount,
    put_failure,
)
from spectro.storage.store import Store
from spectro.work.config import RunConfig
from spectro.work.metrics import Metrics
from spectro.work.outcome import Outcome, Pool, UnitResult, WorkerCounts
from spectro.work.unit_queue import StageTally, UnitQueue
from spectro.work.units import label

logger = logging.getLogger(__name__)
MAX_FAILURES = 200
"""Failures of one session that are stored; further ones are only counted."""


class Observer(Protocol):
    """Receives the heartbeats of an invocation; never raises."""

    def observe(self, heartbeat: Heartbeat, waiting_seconds: float) -> None:
        """A heartbeat, and how long ready units have had no worker."""


class HeartbeatWriter:
    """Puts the heartbeats and failures of one invocation.

    Args:
        store: of the run.
        run: how it is executed.
        device: device type of the workers.
        metrics: None: Ray's.
        observers: are given every heartbeat.
    """

    def __init__(
        self,
        store: Store,
        run: RunConfig,
        *,
        device: str,
        metrics: Metrics | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._store, self._run = store, run
        self.device = device
        """Device type of the workers, `auto` until one is known."""
        self._metrics = metrics or Metrics(store.uri)
        self._observers = observers
        self._log = SessionLog(store)
        self._queues: list[UnitQueue] = []
        self._counts: Counter[str] = Counter()
        self._started, self._number = time.time(), 0
        self._last = float("-inf")
        self._is_closing = self._is_cut_off = False
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="heartbeats")
        self._writing: Future[None] | None = None

    @property
    def session(self) -> str:
        """Id of this invocation."""
        return self._log.session

    def add_queue(self, queue: UnitQueue) -> None:
        """Units of another queue count from now on."""
        self._queues.append(queue)

    def record_failure(self, outcome: Outcome) -> None:
        """Log and store that a unit was not done."""
        self._counts[outcome.result] += 1
        self._metrics.undone(outcome)
        context = {"unit": outcome.unit_id, "worker": outcome.worker or "-"}
        level = logging.INFO if outcome.result is UnitResult.HANDED_BACK else logging.WARNING
        logger.log(
            level,
            "unit %s %s by %s: %s",
            outcome.unit_id,
            outcome.result,
            outcome.worker or "nobody",
            outcome.error,
            extra=context,
        )
        if outcome.trace:
            logger.debug("unit %s failed:\n%s", outcome.unit_id, outcome.trace, extra=context)
        if outcome.result is UnitResult.HANDED_BACK or self._counts.total() > MAX_FAILURES:
            return
        failure = Failure(
            unit=outcome.unit_id,
            kind=str(outcome.result),
            message=outcome.error,
            trace=outcome.trace,
            worker=outcome.worker,
            session=self.session,
            time=time.time(),
        )
        self._writer.submit(self._safely, put_failure, self._store, failure)

    def put_while_waiting(self, pool: Pool) -> None:
        """Put a heartbeat before there is a driver, once waiting has taken as long as one."""
        if time.time() - self._started >= self._run.beat_seconds:
            self.put_if_due(pool, ())

    def put_if_due(self, pool: Pool, running: Sequence[RunningUnit]) -> None:
        """Put a heartbeat if the last one is old and written."""
        due = time.monotonic() - self._last >= self._run.beat_seconds
        if due and (self._writing is None or self._writing.done()):
            self.put(pool, running=running)

    def put(
        self, pool: Pool, *, running: Sequence[RunningUnit] = (), ended: str | None = None
    ) -> None:
        """Put a heartbeat now."""
        counts = pool.worker_counts()
        heartbeat = self._made(counts, running, ended)
        self._last = time.monotonic()
        self._number += 1
        self._metrics.state(counts, heartbeat.stages)
        self._writing = self._writer.submit(self._safely, self._log.put, heartbeat)
        for observer in self._observers:
            self._writer.submit(observer.observe, heartbeat, counts.waiting_seconds)

    def close(self, pool: Pool, ended: str) -> None:
        """Put the last heartbeat, unless there was nothing to do; waits until it is written.

        Once storage fails to answer nothing else is waited for: GPUs are still held.
        """
        self._is_closing = True
        if self._number or any(queue.stages for queue in self._queues):
            self.put(pool, ended=ended)
        self._writer.shutdown(wait=True)

    def _made(
        self, counts: WorkerCounts, running: Sequence[RunningUnit], ended: str | None
    ) -> Heartbeat:
        stages = _counts(self._queues, {unit.unit: unit.share for unit in running})
        return Heartbeat(
            session=self.session,
            number=self._number,
            started=self._started,
            time=time.time(),
            host=socket.gethostname(),
            process=os.getpid(),
            ended=ended,
            device=self.device,
            num_workers=counts.num_workers,
            worker_seconds=counts.worker_seconds,
            stages=stages,
            running=tuple(running),
            lost=sum(
                self._counts[result]
                for result in (UnitResult.CRASHED, UnitResult.PREEMPTED, UnitResult.LOST)
            ),
            handed_back=self._counts[UnitResult.HANDED_BACK],
            errors=self._counts[UnitResult.FAILED] + self._counts[UnitResult.REFUSED],
            set_aside={u: why for queue in self._queues for u, why in queue.set_aside.items()},
            job=self._run.job,
            price_per_gpu_hour=self._run.price_per_gpu_hour,
            num_starting=counts.num_starting,
            num_gpus=counts.num_gpus,
            gpu_seconds_held=counts.gpu_seconds_held,
            gpu_seconds_worked=counts.gpu_seconds_worked,
            waiting=counts.waiting,
        )

    def _safely(self, call: object, *arguments: object) -> None:
        if self._is_closing and self._is_cut_off:
            return
        try:
            call(*arguments)  # type: ignore[operator]
            self._is_cut_off = False
        except Exception as error:  # noqa: BLE001 - the run must not end for want of a heartbeat
            self._is_cut_off = True
            logger.warning("heartbeat or failure could not be stored: %s", error)


def _counts(queues: Sequence[UnitQueue], shares: Mapping[str, float]) -> dict[str, StageCount]:
    """Stages of all queues together; running units count by the share that is done."""
    sums: dict[str, StageTally] = defaultdict(StageTally)
    for queue in queues:
        for name, tally in queue.stages.items():
            for field in dataclasses.fields(tally):
                total = getattr(sums[name], field.name) + getattr(tally, field.name)
                setattr(sums[name], field.name, total)
        for unit_id, unit in queue.running.items():
            sums[label(unit)].done_cost += shares.get(unit_id, 0.0) * unit.cost
    return {name: StageCount(**dataclasses.asdict(tally)) for name, tally in sums.items()}
