"""The worker pool of Ray actors, which join and leave at any time.

Where workers hold GPUs there are two kinds (ADR 093): those with a GPU and the model, and those
with cores alone for the units that need no model. The pool keeps as many of a kind as the run asks
for, or as the cluster has room for, and never more than there are units for it. When Ray says that
a machine is draining (an eviction notice, a SIGTERM to its `ray start`), its workers are asked to
hand their units back.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError

from spectro.formats.sessions import RunningUnit
from spectro.work.errors import reason_of
from spectro.work.model_info import ModelInfo
from spectro.work.outcome import Outcome, UnitResult, WorkerCounts
from spectro.work.progress import clock as shown
from spectro.work.ray_actors import RayActor, RayActors
from spectro.work.ray_nodes import is_alive
from spectro.work.stop_conditions import StopConditions
from spectro.work.units import Unit
from spectro.work.worker_kinds import Demand, WorkerKind

ADJUST_SECONDS = 2.0
"""Time between two readings of the cluster's state."""


@dataclass(kw_only=True)
class RayPool:
    """See `Pool`."""

    actors: Mapping[WorkerKind, RayActors]
    """The actors of each kind; `CPU` alone where no worker holds a GPU."""
    capacity: Callable[[WorkerKind], int]
    """How many workers of a kind the run may have now."""
    clock: Callable[[], float] = time.monotonic
    """Seconds."""
    _adjusted: float = float("-inf")
    _lacking_since: dict[WorkerKind, float] = field(default_factory=dict)

    def describe(self, stop: StopConditions, on_wait: Callable[[], None]) -> ModelInfo:
        """What the first worker describes; waits until there is one, or there is reason to stop.

        `on_wait` is called about once a second while there is none. Raises ValueError in its words
        if it cannot use the run's inputs, UnitError if none can be started, StoppedError if asked
        to stop, past a limit, or one hangs while it starts.
        """
        first = self.actors[WorkerKind.CPU]
        while (error := stop.error(self.clock())) is None:
            first.adjust(1)
            ray.wait([first.members[0].description], timeout=1.0)
            if (model := first.book_ready()) is not None:
                self._lacking_since.clear()
                return model
            self._lacking_since.setdefault(WorkerKind.CPU, self.clock())
            on_wait()
            if all(member.placed_since is None for member in first.members):
                stop.moved(self.clock())  # it waits for a machine
        raise error

    @property
    def has_gpu_workers(self) -> bool:
        """Whether there are two kinds of workers."""
        return WorkerKind.GPU in self.actors

    def kind_of(self, unit: Unit) -> WorkerKind:
        """GPU workers do what needs the model, where there are any."""
        return WorkerKind.GPU if self.has_gpu_workers and unit.needs_model else WorkerKind.CPU

    def adjust(self, demand: Demand) -> None:
        now = self.clock()
        if now - self._adjusted < ADJUST_SECONDS:
            return
        self._adjusted = now
        for kind, actors in self.actors.items():
            actors.book_ready()
            actors.stop_on_leaving_nodes()
            actors.adjust(self._wanted(kind, demand))
            if demand.now.get(kind, 0) > 0 and not _ready(actors):
                self._lacking_since.setdefault(kind, now)
            else:
                self._lacking_since.pop(kind, None)

    def idle(self) -> dict[WorkerKind, int]:
        """Workers of each kind that are ready and without a unit."""
        return {kind: len(actors.idle()) for kind, actors in self.actors.items()}

    def submit(self, unit: Unit) -> None:
        """Give the unit to a free worker of its kind."""
        member = self.actors[self.kind_of(unit)].idle()[0]
        member.task = member.actor.run.remote(dataclasses.replace(unit, needs=()))
        member.unit, member.since, member.share = unit, self.clock(), 0.0

    def wait(self, seconds: float) -> list[Outcome]:
        """Outcomes of the units that ended."""
        tasks = {m.task: (actors, m) for actors, m in self._members() if m.task is not None}
        if not tasks:
            time.sleep(min(seconds, 0.1))
            for actors in self.actors.values():
                actors.book_ready()
            return []
        done, _ = ray.wait(list(tasks), num_returns=1, timeout=seconds)
        if done:
            done, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=0)
        return [self._collect(*tasks[task]) for task in done]

    def running(self) -> list[RunningUnit]:
        busy = [(m, m.unit) for _, m in self._members() if m.unit is not None]
        self._poll_progress([member for member, _ in busy])
        return [
            RunningUnit(
                unit=unit.id,
                worker=member.name,
                seconds=self.clock() - member.since,
                share=member.share,
            )
            for member, unit in busy
        ]

    def request_stop(self) -> None:
        for actors, member in self._members():
            actors.request_stop(member)

    def worker_counts(self) -> WorkerCounts:
        now = self.clock()
        groups = self.actors.values()
        members = [member for _, member in self._members()]
        num_ready = sum(member.ready_since is not None for member in members)
        has_machine = [member.placed_since is not None for member in members]
        return WorkerCounts(
            num_workers=num_ready,
            num_starting=len(members) - num_ready,
            worker_seconds=sum(actors.ready_seconds for actors in groups),
            num_gpus=sum(
                actors.gpus for actors, member in self._members() if member.placed_since is not None
            ),
            gpu_seconds_held=sum(actors.gpus * actors.held_seconds for actors in groups),
            gpu_seconds_worked=sum(
                actors.gpus * (actors.worked_seconds + _in_work(actors, now)) for actors in groups
            ),
            waiting=self._waiting(now),
            waiting_seconds=max((now - t for t in self._lacking_since.values()), default=0.0),
            none_has_a_machine=bool(self._lacking_since) and not any(has_machine),
        )

    def close(self) -> None:
        """End the workers."""
        for actors, member in self._members():
            actors.end(member)

    def _members(self) -> list[tuple[RayActors, RayActor]]:
        return [(actors, member) for actors in self.actors.values() for member in actors.members]

    def _wanted(self, kind: WorkerKind, demand: Demand) -> int:
        """Workers of a kind that there should be; with one kind also those that units that wait
        for others will need, for they cost nothing."""
        if not self.has_gpu_workers:
            return min(max(1, self.capacity(kind)), max(1, demand.left))
        now = demand.now.get(kind, 0)
        return min(self.capacity(kind), now if kind in demand.proven else min(1, now))

    def _waiting(self, now: float) -> str:
        found = []
        for kind, since in self._lacking_since.items():
            starting = self.actors[kind].members
            placed = sum(member.placed_since is not None for member in starting)
            states = f"{placed} starting, {len(starting) - placed} without a machine"
            found.append(f"no {kind} worker for {shown(now - since)} ({states})")
        return "; ".join(found)

    def _poll_progress(self, busy: list[RayActor]) -> None:
        """Fetch the answers that are there, and ask again."""
        asked = {member.position: member for member in busy if member.position is not None}
        answered = ray.wait(list(asked), num_returns=len(asked), timeout=0)[0] if asked else []
        for answer in answered:
            member, asked[answer].position = asked[answer], None
            try:
                member.share = max(member.share, ray.get(answer))
            except RayActorError:  # `wait` will hear of it
                continue
        for member in busy:
            if member.position is None and member.unit is not None:
                member.position = member.actor.position.remote(member.unit.id)

    def _collect(self, actors: RayActors, member: RayActor) -> Outcome:
        unit, task = member.unit, member.task
        assert unit is not None
        member.task = member.unit = member.position = None
        member.idle_since = self.clock()
        actors.worked_seconds += member.idle_since - member.since
        try:
            outcome = ray.get(task)
        except RayError as error:
            return self._dead(actors, member, unit, error)
        assert isinstance(outcome, Outcome)
        # Another process does what failed: a broken device would take, and fail, unit after unit.
        if outcome.result in (UnitResult.HANDED_BACK, UnitResult.FAILED):
            member.is_stopping = True
        return outcome

    def _dead(self, actors: RayActors, member: RayActor, unit: Unit, error: RayError) -> Outcome:
        """A worker died, or cannot be reached: it is ended for good, and replaced later."""
        actors.end(member)
        unreachable = isinstance(error, ActorUnavailableError)  # its machine has no raylet any more
        if not isinstance(error, RayActorError):
            result = UnitResult.FAILED
        elif member.is_stopping:
            result = UnitResult.PREEMPTED
        elif unreachable or not is_alive(member.node):
            result = UnitResult.LOST
        else:
            result = UnitResult.CRASHED
        return Outcome(
            unit_id=unit.id,
            result=result,
            seconds=self.clock() - member.since,
            worker=member.name,
            share=member.share,
            error=reason_of(error),
        )


def _ready(actors: RayActors) -> bool:
    return any(member.ready_since is not None for member in actors.members)


def _in_work(actors: RayActors, now: float) -> float:
    """Seconds of the units that run now."""
    return sum(now - member.since for member in actors.members if member.task is not None)
