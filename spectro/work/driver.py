"""The driver: submits units in order, retries those that failed, and stops the run.

It holds no arrays and no state that storage does not have: after its death the same command
lists what is there and resumes. Errors, crashes and machines lost without notice have separate
retry budgets, preemptions none; a unit beyond its budget is set aside and named at the end. Until a
stage has succeeded once its first final failure ends the run, and until one unit has made progress
the others of its kind wait: a common bug costs one unit on one worker, not one on each.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from spectro.work.errors import UnitError
from spectro.work.heartbeats import HeartbeatWriter
from spectro.work.outcome import Outcome, Pool, UnitResult
from spectro.work.progress import Progress
from spectro.work.retry_budgets import RetryBudgets
from spectro.work.stop_conditions import StopConditions
from spectro.work.unit_queue import UnitQueue
from spectro.work.units import Unit, label
from spectro.work.worker_kinds import WorkerKind

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.5
NAMED = 5
"""Units named in a message; the rest are counted."""


@dataclass(kw_only=True)
class Driver:
    """Runs units; one for all calls of an invocation."""

    pool: Pool
    """Runs them."""
    progress: Progress
    """Shows how far they are."""
    heartbeats: HeartbeatWriter
    """Stores heartbeats and failures."""
    stop: StopConditions
    """When to stop."""
    budgets: RetryBudgets = field(default_factory=RetryBudgets)
    """Retry budgets."""
    one_machine: bool = False
    """Whether all workers share the cores of one machine."""
    clock: Callable[[], float] = time.monotonic
    """Seconds."""

    def run(self, units: Sequence[Unit]) -> list[str]:
        """Do all units; returns those that could not start because an object is missing.

        Raises:
            UnitError: a unit was refused, or some were set aside; in one line.
            StoppedError: asked to stop, past the deadline, or nothing moves; what was being done
                has been handed back.
        """
        if not units:
            return []
        queue = UnitQueue(units, kind_of=self.pool.kind_of, one_machine=self.one_machine)
        for unit in units:
            self.progress.add(label(unit), unit.cost)
        self.heartbeats.add_queue(queue)
        loop = _DriverLoop(self, queue)
        while not queue.is_finished:
            loop.step()
        self.heartbeats.put(self.pool)
        return loop.finish()


class _DriverLoop:
    """State of one call of `Driver.run`."""

    def __init__(self, driver: Driver, queue: UnitQueue) -> None:
        self._driver, self._queue = driver, queue
        self._failures: Counter[tuple[str, str]] = Counter()
        self._missing: list[str] = []
        self._proven: set[WorkerKind] = set()
        self._furthest: dict[str, float] = {}
        self._succeeded: set[str] = set()

    def step(self) -> None:
        """Submit what can be submitted, record what came back."""
        driver, queue = self._driver, self._queue
        counts = driver.pool.worker_counts()
        driver.stop.held(counts.gpu_seconds_held)
        if counts.none_has_a_machine:
            driver.stop.moved(driver.clock())
        if (error := driver.stop.error(driver.clock())) is not None:
            self._stop_with(error)
        driver.pool.adjust(queue.demand(self._proven))
        for unit in queue.take(self._room()):
            logger.debug("unit %s starts", unit.id, extra={"unit": unit.id})
            driver.pool.submit(unit)
        self._record(driver.pool.wait(POLL_SECONDS))
        self._show()

    def finish(self) -> list[str]:
        """Units that miss objects; raises UnitError if any were set aside."""
        queue = self._queue
        aside = {u: why for u, why in queue.set_aside.items() if u not in self._missing}
        if aside:
            names = list(aside)
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            waiting = f"; {queue.num_blocked()} units wait for them" if queue.num_blocked() else ""
            raise UnitError(
                f"set aside after repeated failure: {', '.join(names[:NAMED])}{more} "
                f"(the first: {aside[names[0]]}){waiting}; what is done is kept, and the same "
                "command tries them again"
            )
        return self._missing

    def _room(self) -> dict[WorkerKind, int]:
        """Units of each kind that may start now; one, until one has shown that it works."""
        pool = self._driver.pool
        running = Counter(pool.kind_of(unit) for unit in self._queue.running.values())
        return {
            kind: idle if kind in self._proven else min(idle, 1 - running[kind])
            for kind, idle in pool.idle().items()
        }

    def _record(self, outcomes: list[Outcome]) -> None:
        fatal: list[UnitError] = []
        for outcome in outcomes:
            self._driver.stop.moved(self._driver.clock())
            if outcome.result is UnitResult.DONE:
                context = {"unit": outcome.unit_id, "worker": outcome.worker}
                logger.debug(
                    "unit %s done in %.1f s", outcome.unit_id, outcome.seconds, extra=context
                )
                unit = self._queue.running[outcome.unit_id]
                self._proven.add(self._driver.pool.kind_of(unit))
                self._succeeded.add(label(unit))
                self._queue.done(outcome.unit_id, outcome.seconds)
            else:
                self._driver.heartbeats.record_failure(outcome)
                if (error := self._retry_or_set_aside(outcome)) is not None:
                    fatal.append(error)
        if fatal:
            self._stop_with(fatal[0])

    def _retry_or_set_aside(self, outcome: Outcome) -> UnitError | None:
        """Retry or set aside; returns the error that must end the run, if any."""
        unit_id, budgets = outcome.unit_id, self._driver.budgets
        if outcome.result is UnitResult.MISSING:
            self._missing.append(unit_id)
            self._queue.give_up(unit_id, outcome.error)
            return None
        if outcome.result is UnitResult.REFUSED:
            self._queue.give_up(unit_id, outcome.error)
            return UnitError(outcome.error)
        limit = {
            UnitResult.FAILED: budgets.errors,
            UnitResult.CRASHED: budgets.crashes,
            UnitResult.LOST: budgets.losses,
        }.get(outcome.result)
        if outcome.share > self._furthest.get(unit_id, 0.0):  # it gets on, if slowly
            self._furthest[unit_id] = outcome.share
            self._failures[unit_id, UnitResult.LOST] = 0
        self._failures[unit_id, outcome.result] += 1
        if limit is None or self._failures[unit_id, outcome.result] < limit:
            self._queue.requeue(unit_id)
            return None
        why = outcome.error
        if outcome.result is UnitResult.CRASHED:
            why = f"its worker died {limit} times ({why}); was it killed for want of memory?"
        if outcome.result is UnitResult.LOST:
            why = (
                f"its machine was lost {limit} times without progress ({why}): does the unit need "
                "more memory or disk than a machine has? `spectro plan` says how much"
            )
        stage = label(self._queue.running[unit_id])
        self._queue.give_up(unit_id, why)
        if stage not in self._succeeded:
            return UnitError(f"unit {unit_id}: {why}")
        logger.error("unit %s is set aside: %s", unit_id, why, extra={"unit": unit_id})
        return None

    def _show(self) -> None:
        """Update progress and heartbeats."""
        driver = self._driver
        running = driver.pool.running()
        shares = {unit.unit: unit.share for unit in running}
        for unit_id, unit in self._queue.running.items():
            if shares.get(unit_id, 0.0) > 0:
                self._proven.add(driver.pool.kind_of(unit))
        driver.stop.shares(shares, driver.clock())
        done = {name: tally.done_cost for name, tally in self._queue.stages.items()}
        for unit_id, unit in self._queue.running.items():
            done[label(unit)] += shares.get(unit_id, 0.0) * unit.cost
        for name, amount in done.items():
            if amount:
                driver.progress.update(name, amount)
        driver.heartbeats.put_if_due(driver.pool, running)

    def _stop_with(self, error: Exception) -> None:
        """Have running units handed back, then raise."""
        driver, queue = self._driver, self._queue
        driver.pool.request_stop()
        end = driver.clock() + driver.stop.drain_seconds
        while queue.running and driver.clock() < end:
            outcomes = driver.pool.wait(POLL_SECONDS)
            for outcome in outcomes:
                if outcome.result is not UnitResult.DONE:
                    driver.heartbeats.record_failure(outcome)
                _record_last(queue, outcome)
        if queue.running:
            logger.warning("not handed back in time: %s", ", ".join(queue.running))
        raise error


def _record_last(queue: UnitQueue, outcome: Outcome) -> None:
    """Record an outcome that comes while the run is being stopped."""
    if outcome.result is UnitResult.DONE:
        queue.done(outcome.unit_id, outcome.seconds)
    else:
        queue.requeue(outcome.unit_id)
