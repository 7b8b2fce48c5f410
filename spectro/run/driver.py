"""The driver: gives units to workers, in order, as soon as what they need is done.

It holds no arrays. A unit that fails stops the run with the unit's own one-line message; what is
done stays done. A worker that dies costs its unit, which is given out again a few times.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from spectro.run.errors import UnitError
from spectro.run.progress import Progress
from spectro.run.units import Unit

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a unit."""

    unit_id: str
    """Which."""
    seconds: float
    """What it took."""
    error: str | None = None
    """One line, if it failed."""
    trace: str | None = None
    """Its traceback, for the log."""
    lost: bool = False
    """Whether its worker died."""


class Pool(Protocol):
    """Those who do the work."""

    def idle(self) -> int:
        """How many units can be given out now."""
        ...

    def submit(self, unit: Unit) -> None:
        """Give out a unit."""
        ...

    def wait(self, seconds: float) -> list[Outcome]:
        """Outcomes since the last call, after at most so long."""
        ...

    def positions(self) -> dict[str, float]:
        """Share done of every running unit, by id."""
        ...


def run_units(
    units: Sequence[Unit], pool: Pool, progress: Progress, *, max_attempts: int = 3
) -> dict[str, float]:
    """Do all units; returns the workers' seconds by stage.

    Raises UnitError at the first unit that fails, or whose worker died `max_attempts` times.
    """
    board = _Board(units, progress)
    while board.todo:
        chosen = board.ready(pool.idle())
        board.show(pool.positions())
        for unit in chosen:
            logger.debug("unit %s starts", unit.id)
            pool.submit(unit)
        for outcome in pool.wait(POLL_SECONDS):
            board.finish(outcome, max_attempts)
        board.show(pool.positions())
    return board.seconds


class _Board:
    """What is to do, what runs, what is done."""

    def __init__(self, units: Sequence[Unit], progress: Progress) -> None:
        self.todo = {unit.id: unit for unit in units}
        self.running: dict[str, Unit] = {}
        self.seconds: dict[str, float] = defaultdict(float)
        self._attempts: Counter[str] = Counter()
        self._progress = progress
        self._done: dict[str, float] = defaultdict(float)
        for unit in units:
            progress.add(label(unit), unit.cost)

    def ready(self, count: int) -> list[Unit]:
        """The next units whose needs are done."""
        found: list[Unit] = []
        for unit in self.todo.values():
            if len(found) == count:
                break
            waits = any(need.id in self.todo for need in unit.needs)
            if unit.id not in self.running and not waits:
                found.append(unit)
        assert found or self.running or not count, "units wait for each other"
        self.running.update({unit.id: unit for unit in found})
        return found

    def finish(self, outcome: Outcome, max_attempts: int) -> None:
        """Book an outcome."""
        unit = self.running.pop(outcome.unit_id)
        if outcome.lost:
            self._attempts[unit.id] += 1
            logger.warning("unit %s: its worker died", unit.id)
            if self._attempts[unit.id] >= max_attempts:
                raise UnitError(
                    f"unit {unit.id}: its worker died {max_attempts} times; "
                    "was it killed for want of memory?"
                )
            return
        if outcome.error is not None:
            logger.debug("unit %s failed:\n%s", unit.id, outcome.trace)
            raise UnitError(outcome.error)
        logger.debug("unit %s done in %.1f s", unit.id, outcome.seconds)
        del self.todo[unit.id]
        self.seconds[unit.stage] += outcome.seconds
        self._done[label(unit)] += unit.cost

    def show(self, positions: dict[str, float]) -> None:
        """Hand every stage's state to the progress display."""
        done = dict(self._done)
        for unit_id, unit in self.running.items():
            share = positions.get(unit_id, 0.0)
            done[label(unit)] = done.get(label(unit), 0.0) + share * unit.cost
        for name, amount in done.items():
            self._progress.update(name, amount)


def label(unit: Unit) -> str:
    """Name of a unit's stage in the progress display."""
    return f"{unit.part}: {unit.stage}" if unit.part else unit.stage
