"""The queue of units: which are ready, running, done, or wait for others.

Every operation takes time in the units that it touches, never in all of them: a run may have many
thousands.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from spectro.work.units import Unit, label
from spectro.work.worker_kinds import Demand, WorkerKind


@dataclass(kw_only=True)
class StageTally:
    """How far one stage is."""

    units: int = 0
    """Units in all."""
    done: int = 0
    """Units done."""
    cost: float = 0.0
    """Their work in all."""
    done_cost: float = 0.0
    """Work done."""
    seconds: float = 0.0
    """Workers' time in finished units."""


class UnitQueue:
    """Units in the order in which they are to be done, once what they need is done.

    Args:
        units: in that order.
        kind_of: which workers do a unit.
        one_machine: all workers share one machine's cores: of the units that take all of them
            one is done at a time, for two would share its memory and gain nothing.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        *,
        kind_of: Callable[[Unit], WorkerKind] = lambda unit: WorkerKind.CPU,
        one_machine: bool = False,
    ) -> None:
        self._one_machine, self._kind_of = one_machine, kind_of
        self._units = {unit.id: unit for unit in units}
        self._rank = {unit.id: rank for rank, unit in enumerate(units)}
        self._ready: dict[WorkerKind, list[tuple[int, str]]] = {kind: [] for kind in WorkerKind}
        self._ready_large: list[tuple[int, str]] = []
        """Those of which one is done at a time."""
        self._waits: dict[str, int] = {}
        self._dependents: dict[str, list[str]] = defaultdict(list)
        self._done: set[str] = set()
        self.running: dict[str, Unit] = {}
        self.set_aside: dict[str, str] = {}
        """Units that are not tried any more, with the reason."""
        self.stages: dict[str, StageTally] = {}
        for unit in units:
            needs = {need.id for need in unit.needs if need.id in self._units}
            self._waits[unit.id] = len(needs)
            for need in needs:
                self._dependents[need].append(unit.id)
            if not needs:
                self._put(unit.id)
            tally = self.stages.setdefault(label(unit), StageTally())
            tally.units += 1
            tally.cost += unit.cost

    @property
    def num_left(self) -> int:
        """Units that are not done and not given up."""
        return len(self._units) - len(self._done) - len(self.set_aside)

    @property
    def is_finished(self) -> bool:
        """Whether nothing runs and nothing is ready."""
        return not self.running and not self._ready_large and not any(self._ready.values())

    def num_blocked(self) -> int:
        """Units that wait for units that were given up."""
        return self.num_left if self.is_finished else 0

    def demand(self, proven: Collection[WorkerKind] = ()) -> Demand:
        """Units that workers could do; see `Demand`."""
        now = Counter(self._kind_of(unit) for unit in self.running.values())
        for kind, heap in self._ready.items():
            now[kind] += len(heap)
        for _, unit_id in self._ready_large:
            now[self._kind_of(self._units[unit_id])] += 1
        return Demand(now=now, left=self.num_left, proven=frozenset(proven))

    def take(self, counts: Mapping[WorkerKind, int]) -> list[Unit]:
        """The next units of each kind whose needs are done; they count as running."""
        taken: list[Unit] = []
        for kind, count in counts.items():
            while count > 0 and (heap := self._next(kind)):
                _, unit_id = heapq.heappop(heap)
                self.running[unit_id] = self._units[unit_id]
                taken.append(self._units[unit_id])
                count -= 1
        return taken

    def done(self, unit_id: str, seconds: float) -> None:
        """A running unit is done; those that waited for it alone are ready."""
        unit = self.running.pop(unit_id)
        self._done.add(unit_id)
        tally = self.stages[label(unit)]
        tally.done += 1
        tally.done_cost += unit.cost
        tally.seconds += seconds
        for dependent in self._dependents[unit_id]:
            self._waits[dependent] -= 1
            if not self._waits[dependent]:
                self._put(dependent)

    def requeue(self, unit_id: str) -> None:
        """A running unit is to be submitted again."""
        del self.running[unit_id]
        self._put(unit_id)

    def give_up(self, unit_id: str, why: str) -> None:
        """A running unit is set aside; what needs it stays undone."""
        del self.running[unit_id]
        self.set_aside[unit_id] = why

    def _next(self, kind: WorkerKind) -> list[tuple[int, str]]:
        """The heap that holds the next unit that may start; an empty one if none may."""
        may_start = [self._ready[kind]]
        if not any(self._is_large(unit) for unit in self.running.values()):
            large = self._ready_large
            if large and self._kind_of(self._units[large[0][1]]) is kind:
                may_start.append(large)
        return min((heap for heap in may_start if heap), default=[])

    def _put(self, unit_id: str) -> None:
        unit = self._units[unit_id]
        heap = self._ready_large if self._is_large(unit) else self._ready[self._kind_of(unit)]
        heapq.heappush(heap, (self._rank[unit_id], unit_id))

    def _is_large(self, unit: Unit) -> bool:
        return self._one_machine and unit.takes_all_cores
