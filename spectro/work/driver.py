"""The driver: gives out units in order, books what comes back, and knows when to stop.

It holds no arrays and no state that storage does not have: after its death the same command
lists what is there and goes on. Preemptions, crashes and errors have separate budgets; a unit
that fails repeatedly is set aside and named at the end. Until a stage has succeeded once its first
final failure ends the run, and until one unit has shown that it works the others wait: a common
bug costs one unit, not one on every worker.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from spectro.work.errors import StoppedError, UnitError
from spectro.work.heartbeats import Journal
from spectro.work.outcome import Outcome, Pool, UnitResult
from spectro.work.progress import Progress
from spectro.work.stop_conditions import StopConditions
from spectro.work.unit_queue import UnitQueue
from spectro.work.units import Unit, label

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.5
NAMED = 5
"""Units named in a message; the rest are counted."""


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """How often a unit may fail before it is given up."""

    errors: int = 3
    """Times that it may raise; ≥ 1."""
    crashes: int = 5
    """Times that its worker may die on a machine that lives on; ≥ 1."""


@dataclass(kw_only=True)
class Driver:
    """Does units; one for all calls of an invocation."""

    pool: Pool
    """Who does them."""
    progress: Progress
    """Where people see how far they are."""
    journal: Journal
    """Where storage is told."""
    stop: StopConditions
    """When to stop."""
    budgets: Budgets = field(default_factory=Budgets)
    """How much failure is borne."""
    one_machine: bool = False
    """Whether all workers share the cores of one machine."""
    clock: Callable[[], float] = time.monotonic
    """Seconds."""

    def run(self, units: Sequence[Unit]) -> list[str]:
        """Do all units; returns those that could not start because an object is missing.

        Raises:
            UnitError: a unit was refused, or some were set aside; in one line.
            StoppedError: told to stop, past the deadline, or nothing moves; what was being done
                has been handed back.
        """
        if not units:
            return []
        board = UnitQueue(units, one_machine=self.one_machine)
        for unit in units:
            self.progress.add(label(unit), unit.cost)
        self.journal.opened(board)
        call = _Call(self, board)
        while not board.is_over:
            call.turn()
        self.journal.beat(self.pool)
        return call.verdict()


class _Call:
    """One call of `Driver.run`."""

    def __init__(self, driver: Driver, board: UnitQueue) -> None:
        self._driver, self._board = driver, board
        self._failures: Counter[tuple[str, str]] = Counter()
        self._missing: list[str] = []
        self._proven = False
        self._succeeded: set[str] = set()

    def turn(self) -> None:
        """Give out what can be given out, book what came back."""
        driver, board = self._driver, self._board
        if (reason := driver.stop.reason(driver.clock())) is not None:
            self._stop(reason)
        driver.pool.tend(board.left)
        for unit in board.take(self._room()):
            logger.debug("unit %s starts", unit.id, extra={"unit": unit.id})
            driver.pool.submit(unit)
        self._book(driver.pool.wait(POLL_SECONDS))
        self._show()

    def verdict(self) -> list[str]:
        """Units that miss objects; raises UnitError if any were set aside."""
        board = self._board
        aside = {u: why for u, why in board.set_aside.items() if u not in self._missing}
        if aside:
            names = list(aside)
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            waiting = f"; {board.blocked()} units wait for them" if board.blocked() else ""
            raise UnitError(
                f"set aside after repeated failure: {', '.join(names[:NAMED])}{more} "
                f"(the first: {aside[names[0]]}){waiting}; what is done is kept, and the same "
                "command tries them again"
            )
        return self._missing

    def _room(self) -> int:
        """Units that may start now; one, until one has shown that it works."""
        idle = self._driver.pool.idle()
        if self._proven:
            return idle
        return min(idle, 1 - len(self._board.running))

    def _book(self, outcomes: list[Outcome]) -> None:
        fatal: list[UnitError] = []
        for outcome in outcomes:
            self._driver.stop.moved(self._driver.clock())
            if outcome.fate is UnitResult.DONE:
                told = {"unit": outcome.unit_id, "worker": outcome.worker}
                logger.debug("unit %s done in %.1f s", outcome.unit_id, outcome.seconds, extra=told)
                self._proven = True
                self._succeeded.add(label(self._board.running[outcome.unit_id]))
                self._board.done(outcome.unit_id, outcome.seconds)
            else:
                self._driver.journal.failed(outcome)
                if (error := self._undone(outcome)) is not None:
                    fatal.append(error)
        if fatal:
            self._stop_with(fatal[0])

    def _undone(self, outcome: Outcome) -> UnitError | None:
        """Try again or set aside; returns what the run must end with, if it must."""
        unit_id, budgets = outcome.unit_id, self._driver.budgets
        if outcome.fate is UnitResult.MISSING:
            self._missing.append(unit_id)
            self._board.give_up(unit_id, outcome.error)
            return None
        if outcome.fate is UnitResult.REFUSED:
            self._board.give_up(unit_id, outcome.error)
            return UnitError(outcome.error)
        limit = {UnitResult.FAILED: budgets.errors, UnitResult.CRASHED: budgets.crashes}.get(
            outcome.fate
        )
        self._failures[unit_id, outcome.fate] += 1
        if limit is None or self._failures[unit_id, outcome.fate] < limit:
            self._board.again(unit_id)
            return None
        why = outcome.error
        if outcome.fate is UnitResult.CRASHED:
            why = f"its worker died {limit} times ({why}); was it killed for want of memory?"
        stage = label(self._board.running[unit_id])
        self._board.give_up(unit_id, why)
        if stage not in self._succeeded:
            return UnitError(f"unit {unit_id}: {why}")
        logger.error("unit %s is set aside: %s", unit_id, why, extra={"unit": unit_id})
        return None

    def _show(self) -> None:
        """Tell people and storage how far everything is."""
        driver = self._driver
        running = driver.pool.running()
        shares = {unit.unit: unit.share for unit in running}
        if any(share > 0 for share in shares.values()):
            self._proven = True
        driver.stop.shares(shares, driver.clock())
        done = {name: tally.done_cost for name, tally in self._board.stages.items()}
        for unit_id, unit in self._board.running.items():
            done[label(unit)] += shares.get(unit_id, 0.0) * unit.cost
        for name, amount in done.items():
            if amount:
                driver.progress.update(name, amount)
        driver.journal.beat_if_due(driver.pool, running)

    def _stop(self, reason: str) -> None:
        self._stop_with(StoppedError(reason))

    def _stop_with(self, error: Exception) -> None:
        """Have what runs handed back, then raise."""
        driver, board = self._driver, self._board
        driver.pool.leave()
        end = driver.clock() + driver.stop.drain_seconds
        while board.running and driver.clock() < end:
            outcomes = driver.pool.wait(POLL_SECONDS)
            for outcome in outcomes:
                if outcome.fate is not UnitResult.DONE:
                    driver.journal.failed(outcome)
                _book_last(board, outcome)
        if board.running:
            logger.warning("not handed back in time: %s", ", ".join(board.running))
        raise error


def _book_last(board: UnitQueue, outcome: Outcome) -> None:
    """Book an outcome that comes while the run is being stopped."""
    if outcome.fate is UnitResult.DONE:
        board.done(outcome.unit_id, outcome.seconds)
    else:
        board.again(outcome.unit_id)
