"""The Ray actors of a run: starting, ready, stopping.

An actor is starting until it has loaded the model. One that dies before that is replaced, but not
for ever while no other is ready.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from spectro.work.errors import UnitError, reason_of
from spectro.work.model_info import ModelInfo
from spectro.work.outcome import MAX_FAILED_STARTS, WorkerCounts
from spectro.work.ray_nodes import leaving_nodes
from spectro.work.units import Unit
from spectro.work.worker import ProcessWorker, WorkerSetup

logger = logging.getLogger(__name__)
ANSWER_THREADS = 3
"""One thread works, others answer `position` and `request_stop`."""
NAME_SECONDS = 30.0
"""A worker that has loaded the model answers within this time, or counts as dead."""


@dataclass(kw_only=True, eq=False)
class RayActor:
    """One actor."""

    actor: Any
    """Its handle."""
    description: Any
    """Reference to the answer of `try_describe`."""
    node: str | None = None
    """Ray's id of its machine."""
    name: str = ""
    """Host and process."""
    ready_since: float | None = None
    """Clock when it had the model; None while it is starting."""
    task: Any = None
    """Reference to the outcome of its unit; None while it is idle."""
    unit: Unit | None = None
    """Its unit."""
    since: float = 0.0
    """Clock when its unit began."""
    position: Any = None
    """Reference to the answer of `position`."""
    share: float = 0.0
    """Share of the unit done, as last reported."""
    is_stopping: bool = False
    """Whether it gets no more units."""


@dataclass(kw_only=True)
class RayActors:
    """All actors of one invocation."""

    setup: WorkerSetup
    """What every worker is made from."""
    gpus_per_worker: float
    """GPUs that Ray reserves for each."""
    worker: type = ProcessWorker
    """Class of the actors."""
    clock: Callable[[], float] = time.monotonic
    """Seconds."""
    members: list[RayActor] = field(default_factory=list)
    """Those that are starting or ready."""
    _seconds: float = 0.0
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
        free = [member for member in staying if not member.task]
        free.sort(key=lambda member: member.ready_since is not None)  # starting ones first
        for member in free[: max(0, len(staying) - wanted)]:
            self.end(member)

    def book_ready(self) -> ModelInfo | None:
        """Note which actors are ready; returns the model that the last of them loaded.

        Raises ValueError in an actor's words if it cannot load the model, UnitError if one after
        the other dies, both only while none is ready.
        """
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
        if member.ready_since is not None:
            self._seconds += self.clock() - member.ready_since
        self.members.remove(member)
        ray.kill(member.actor)

    def worker_counts(self) -> WorkerCounts:
        now = self.clock()
        here = [member.ready_since for member in self.members if member.ready_since is not None]
        return WorkerCounts(
            num_workers=len(here),
            num_starting=len(self.members) - len(here),
            worker_seconds=self._seconds + sum(now - ready_since for ready_since in here),
        )

    def _start(self) -> None:
        options = ray.remote(self.worker).options(
            num_cpus=self.setup.config.run.threads_per_worker,
            num_gpus=self.gpus_per_worker,
            max_concurrency=ANSWER_THREADS,
        )
        actor = options.remote(self.setup)
        self.members.append(RayActor(actor=actor, description=actor.try_describe.remote()))

    def _end_stopped(self) -> None:
        for member in [m for m in self.members if m.is_stopping and not m.task]:
            self.end(member)

    def _book_ready(self, member: RayActor) -> ModelInfo | None:
        try:
            answer = ray.get(member.description)
            member.name, member.node = ray.get(
                [member.actor.name.remote(), member.actor.node.remote()], timeout=NAME_SECONDS
            )
        except RayError as error:  # it died, or its machine is broken
            self._book_failed_start(member, reason_of(error))
            return None
        if isinstance(answer, str):
            if self._none_is_ready():
                raise ValueError(answer)
            self._book_failed_start(member, answer)
            return None
        assert isinstance(answer, ModelInfo)
        member.ready_since, self._failed_starts = self.clock(), 0
        logger.info("worker %s joins", member.name)
        return answer

    def _book_failed_start(self, member: RayActor, why: str) -> None:
        """An actor died before it had the model."""
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
