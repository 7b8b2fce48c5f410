"""The Ray actors of one kind of worker: waiting for a machine, starting, ready, stopping.

An actor that dies before it is ready is replaced, but not for ever while no other is ready. One
that holds a GPU and has no unit is kept as long as its own start took, then handed back: so waiting
never costs more than twice what the best choice in hindsight would have cost (ski rental).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from spectro.work.errors import UnitError, reason_of
from spectro.work.model_info import ModelInfo
from spectro.work.outcome import MAX_FAILED_STARTS
from spectro.work.ray_nodes import leaving_nodes
from spectro.work.units import Unit
from spectro.work.worker import ProcessWorker, WorkerSetup
from spectro.work.worker_kinds import WorkerKind

logger = logging.getLogger(__name__)
ANSWER_THREADS = 3
"""One thread works, others answer `position` and `request_stop`."""
NAME_SECONDS = 30.0
"""A worker that is ready answers within this time, or counts as dead."""
MIN_IDLE_SECONDS = 2.0
"""A GPU worker is kept idle for at least so long: units follow each other within it."""


def _ignore(model: ModelInfo) -> None:
    pass


@dataclass(kw_only=True, eq=False)
class RayActor:
    """One actor. Times are the clock's."""

    actor: Any
    """Its handle."""
    description: Any
    """Reference to the answer of `try_describe`."""
    place: Any = None
    """Reference to the answer of `node`, which comes once it has a machine."""
    node: str | None = None
    """Ray's id of its machine; None while it waits for one."""
    name: str = ""
    """Host and process."""
    placed_since: float | None = None
    """When its process had started: from then on it holds what Ray reserves for it."""
    ready_since: float | None = None
    """When it could take units; None while it is starting."""
    idle_since: float = 0.0
    """When it last became free."""
    task: Any = None
    """Reference to the outcome of its unit; None while it is idle."""
    unit: Unit | None = None
    """Its unit."""
    since: float = 0.0
    """When its unit began."""
    position: Any = None
    """Reference to the answer of `position`."""
    share: float = 0.0
    """Share of the unit done, as last reported."""
    is_stopping: bool = False
    """Whether it gets no more units."""

    @property
    def start_seconds(self) -> float:
        """What its start took, once it had a machine."""
        if self.ready_since is None or self.placed_since is None:
            return 0.0
        return self.ready_since - self.placed_since


@dataclass(kw_only=True)
class RayActors:
    """All actors of one kind of one invocation."""

    setup: WorkerSetup
    """What every worker is made from."""
    kind: WorkerKind = WorkerKind.CPU
    """Which kind."""
    cpus: float = 1.0
    """CPUs that Ray reserves for each."""
    gpus: float = 0.0
    """GPUs that Ray reserves for each."""
    holds_model: bool = True
    """Whether each loads the model when it starts."""
    on_ready: Callable[[ModelInfo], None] = _ignore
    """Checks what a worker describes before it gets units; raises ValueError."""
    worker: type = ProcessWorker
    """Class of the actors."""
    clock: Callable[[], float] = time.monotonic
    """Seconds."""
    members: list[RayActor] = field(default_factory=list)
    """Those that wait, start or are ready."""
    worked_seconds: float = 0.0
    """Time in units that came back."""
    _seconds: float = 0.0
    _held_seconds: float = 0.0
    _failed_starts: int = 0

    def idle(self) -> list[RayActor]:
        """Actors that could take a unit now."""
        return [
            m
            for m in self.members
            if m.ready_since is not None and not m.task and not m.is_stopping
        ]

    def adjust(self, wanted: int) -> None:
        """Start or end actors until as many stay as are wanted; busy ones are not ended."""
        self._end_stopped()
        staying = [member for member in self.members if not member.is_stopping]
        for _ in range(wanted - len(staying)):
            self._start()
        for member in self._spare(staying)[: max(0, len(staying) - wanted)]:
            logger.info("worker %s is handed back", member.name or "that was starting")
            self.end(member)

    def book_ready(self) -> ModelInfo | None:
        """Note which actors have a machine or are ready; returns what the last one describes.

        Raises ValueError in an actor's words if it cannot load the model, UnitError if one after
        the other dies, both only while none is ready.
        """
        self._book_placed()
        starting = {
            member.description: member for member in self.members if member.ready_since is None
        }
        found = None
        if starting:
            ready, _ = ray.wait(list(starting), num_returns=len(starting), timeout=0)
            for answer in ready:
                found = self._book_ready(starting[answer]) or found
        return found

    def stop_on_leaving_nodes(self) -> None:
        """Ask actors on machines that are to be taken away to stop."""
        leaving = leaving_nodes()
        for member in self.members:
            if member.node in leaving and not member.is_stopping:
                logger.info("worker %s is asked to stop: its machine is draining", member.name)
                self.request_stop(member)

    def request_stop(self, member: RayActor) -> None:
        """An actor is to hand its unit back and gets no other."""
        member.is_stopping = True
        if member.ready_since is not None:
            member.actor.request_stop.remote()

    def end(self, member: RayActor) -> None:
        """End an actor for good, also one that cannot be reached."""
        now = self.clock()
        if member.ready_since is not None:
            self._seconds += now - member.ready_since
        if member.placed_since is not None:
            self._held_seconds += now - member.placed_since
        self.members.remove(member)
        ray.kill(member.actor)

    @property
    def ready_seconds(self) -> float:
        """Time of all actors since they were ready."""
        since = [m.ready_since for m in self.members if m.ready_since is not None]
        return self._seconds + sum(self.clock() - start for start in since)

    @property
    def held_seconds(self) -> float:
        """Time of all actors since their processes started."""
        since = [m.placed_since for m in self.members if m.placed_since is not None]
        return self._held_seconds + sum(self.clock() - start for start in since)

    def _start(self) -> None:
        options = ray.remote(self.worker).options(
            num_cpus=self.cpus, num_gpus=self.gpus, max_concurrency=ANSWER_THREADS
        )
        actor = options.remote(self.setup, holds_model=self.holds_model)
        self.members.append(
            RayActor(
                actor=actor, description=actor.try_describe.remote(), place=actor.node.remote()
            )
        )

    def _end_stopped(self) -> None:
        for member in [m for m in self.members if m.is_stopping and not m.task]:
            self.end(member)

    def _spare(self, staying: list[RayActor]) -> list[RayActor]:
        """Actors that may be ended, first those without a machine, then of the emptiest machine.

        So a machine of several GPUs is given back whole.
        """
        busy = Counter(member.node for member in self.members if member.task)
        now = self.clock()
        free = [
            member
            for member in staying
            if not member.task and (not self.gpus or self._may_go(member, now))
        ]
        return sorted(
            free, key=lambda m: (m.node is not None, m.ready_since is not None, busy[m.node])
        )

    def _may_go(self, member: RayActor, now: float) -> bool:
        if member.ready_since is None:
            return member.placed_since is None
        return now - member.idle_since >= max(MIN_IDLE_SECONDS, member.start_seconds)

    def _book_placed(self) -> None:
        asked = {m.place: m for m in self.members if m.place is not None}
        if not asked:
            return
        answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=0)
        for answer in answered:
            member, asked[answer].place = asked[answer], None
            try:
                member.node, member.placed_since = ray.get(answer), self.clock()
            except RayError:  # its description says why
                continue

    def _book_ready(self, member: RayActor) -> ModelInfo | None:
        try:
            answer = ray.get(member.description)
            member.name, member.node = ray.get(
                [member.actor.name.remote(), member.actor.node.remote()], timeout=NAME_SECONDS
            )
            if isinstance(answer, ModelInfo):
                self.on_ready(answer)
        except RayError as error:  # it died, or its machine is broken
            self._book_failed_start(member, reason_of(error))
            return None
        except ValueError as error:  # it has another model than the run
            answer = error
        if not isinstance(answer, ModelInfo):
            if self._none_is_ready():
                raise answer if isinstance(answer, ValueError) else ValueError(answer)
            self._book_failed_start(member, str(answer))
            return None
        member.ready_since = member.idle_since = self.clock()
        member.placed_since = member.ready_since if not member.placed_since else member.placed_since
        self._failed_starts = 0
        logger.info("%s worker %s joins", self.kind, member.name)
        return answer

    def _book_failed_start(self, member: RayActor, why: str) -> None:
        """An actor died before it was ready."""
        self.end(member)
        self._failed_starts += 1
        logger.warning("a worker died while it started: %s", why)
        if self._failed_starts >= MAX_FAILED_STARTS and self._none_is_ready():
            raise UnitError(
                f"{self._failed_starts} workers in a row died before they had the model: {why}; "
                "does the model fit the memory of a worker?"
            )

    def _none_is_ready(self) -> bool:
        return all(member.ready_since is None for member in self.members)
