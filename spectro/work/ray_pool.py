"""The worker pool of Ray actors that hold the model, which join and leave at any time.

The pool keeps as many workers as the run asks for, or as the cluster has room for, and never more
than there are units left, so that an autoscaler can take idle machines away. When Ray says that a
machine is draining (an eviction notice, a SIGTERM to its `ray start`), its workers are asked to
hand their units back.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError

from spectro.formats.sessions import RunningUnit
from spectro.work.errors import StoppedError, reason_of
from spectro.work.model_info import ModelInfo
from spectro.work.outcome import Outcome, UnitResult, WorkerCounts
from spectro.work.ray_actors import RayActor, RayActors
from spectro.work.ray_nodes import is_alive
from spectro.work.stop_conditions import StopConditions
from spectro.work.units import Unit

ADJUST_SECONDS = 2.0
"""Time between two readings of the cluster's state."""


@dataclass(kw_only=True)
class RayPool:
    """See `Pool`."""

    actors: RayActors
    """The actors."""
    wanted: Callable[[], int]
    """How many workers the run is to have now."""
    _adjusted: float = float("-inf")

    def describe(self, stop: StopConditions) -> ModelInfo:
        """What the first worker loaded; waits until there is one, or there is reason to stop.

        Raises ValueError in its words if it cannot load the model, UnitError if none can be
        started, StoppedError if asked to stop, past the deadline, or none ready_since for too long.
        """
        while (reason := stop.reason(self.actors.clock())) is None:
            self.actors.adjust(1)
            ray.wait([self.actors.members[0].description], timeout=1.0)
            if (model := self.actors.book_ready()) is not None:
                return model
        raise StoppedError(reason)

    def adjust(self, units_left: int) -> None:
        now = self.actors.clock()
        if now - self._adjusted < ADJUST_SECONDS:
            return
        self._adjusted = now
        self.actors.book_ready()
        self.actors.stop_on_leaving_nodes()
        self.actors.adjust(min(max(1, self.wanted()), max(1, units_left)))

    def idle(self) -> int:
        """Workers with the model and without a unit."""
        return len(self.actors.idle())

    def submit(self, unit: Unit) -> None:
        """Give the unit to a free worker."""
        member = self.actors.idle()[0]
        member.task = member.actor.run.remote(dataclasses.replace(unit, needs=()))
        member.unit, member.since, member.share = unit, self.actors.clock(), 0.0

    def wait(self, seconds: float) -> list[Outcome]:
        """Outcomes of the units that ended."""
        tasks = {member.task: member for member in self.actors.members if member.task is not None}
        if not tasks:
            time.sleep(min(seconds, 0.1))
            self.actors.book_ready()
            return []
        done, _ = ray.wait(list(tasks), num_returns=1, timeout=seconds)
        if done:
            done, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=0)
        return [self._collect(tasks[task]) for task in done]

    def running(self) -> list[RunningUnit]:
        busy = [(member, member.unit) for member in self.actors.members if member.unit is not None]
        self._poll_progress([member for member, _ in busy])
        return [
            RunningUnit(
                unit=unit.id,
                worker=member.name,
                seconds=self.actors.clock() - member.since,
                share=member.share,
            )
            for member, unit in busy
        ]

    def request_stop(self) -> None:
        for member in self.actors.members:
            self.actors.request_stop(member)

    def worker_counts(self) -> WorkerCounts:
        return self.actors.worker_counts()

    def close(self) -> None:
        """End the workers."""
        for member in list(self.actors.members):
            self.actors.end(member)

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

    def _collect(self, member: RayActor) -> Outcome:
        unit, task = member.unit, member.task
        assert unit is not None
        member.task = member.unit = member.position = None
        try:
            outcome = ray.get(task)
        except RayError as error:
            return self._dead(member, unit, error)
        assert isinstance(outcome, Outcome)
        # Another process does what failed: a broken device would take, and fail, unit after unit.
        if outcome.result in (UnitResult.HANDED_BACK, UnitResult.FAILED):
            member.is_stopping = True
        return outcome

    def _dead(self, member: RayActor, unit: Unit, error: RayError) -> Outcome:
        """A worker died, or cannot be reached: it is ended for good, and replaced later."""
        self.actors.end(member)
        unreachable = isinstance(error, ActorUnavailableError)  # its machine has no raylet any more
        gone = member.is_stopping or unreachable or not is_alive(member.node)
        is_dead = isinstance(error, RayActorError)
        return Outcome(
            unit_id=unit.id,
            result=(UnitResult.PREEMPTED if gone else UnitResult.CRASHED)
            if is_dead
            else UnitResult.FAILED,
            seconds=self.actors.clock() - member.since,
            worker=member.name,
            error=reason_of(error),
        )
