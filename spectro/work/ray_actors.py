"""The Ray actors of a run: who is coming, who is here, who is told to leave.

An actor is *coming* until it has loaded the model. The crew keeps as many as are wanted; a member
that died before it had the model is replaced, but not for ever while nobody else is at work.
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
from spectro.work.outcome import MAX_STILLBORN, WorkerCounts
from spectro.work.ray_nodes import leaving_nodes
from spectro.work.units import Unit
from spectro.work.worker import ProcessWorker, WorkerSetup

logger = logging.getLogger(__name__)
ANSWER_THREADS = 3
"""One thread works, others answer `position` and `leave`."""
NAME_SECONDS = 30.0
"""A worker that has loaded the model says its name within this time, or counts as dead."""


@dataclass(kw_only=True, eq=False)
class RayActor:
    """One actor."""

    actor: Any
    """Its handle."""
    hello: Any
    """Its answer to `try_describe`, on the way while it is coming."""
    node: str | None = None
    """Ray's id of its machine."""
    name: str = ""
    """Host and process."""
    came: float | None = None
    """Clock when it had the model; None while it is coming."""
    task: Any = None
    """The answer to `run` that is on the way."""
    unit: Unit | None = None
    """What it does."""
    since: float = 0.0
    """Clock when it began."""
    asked: Any = None
    """An answer to `position` on the way."""
    share: float = 0.0
    """Share of the unit done, as last heard."""
    is_leaving: bool = False
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
    """Those who are coming or here."""
    _seconds: float = 0.0
    _stillborn: int = 0

    def idle(self) -> list[RayActor]:
        """Those who could take a unit now."""
        return [m for m in self.members if m.came is not None and not m.task and not m.is_leaving]

    def fit(self, wanted: int) -> None:
        """Start or end members until as many stay as are wanted; those at work are let alone."""
        self._end_idle_leavers()
        staying = [member for member in self.members if not member.is_leaving]
        for _ in range(wanted - len(staying)):
            self._start()
        free = [member for member in staying if not member.task]
        free.sort(key=lambda member: member.came is not None)  # those who are coming go first
        for member in free[: max(0, len(staying) - wanted)]:
            self.end(member)

    def welcome(self) -> ModelInfo | None:
        """Book those who have come; returns what the last of them loaded.

        Raises ValueError in a member's words if it cannot load the model, UnitError if one after
        the other dies, both only while nobody is at work.
        """
        coming = {member.hello: member for member in self.members if member.came is None}
        found = None
        if coming:
            ready, _ = ray.wait(list(coming), num_returns=len(coming), timeout=0)
            for answer in ready:
                found = self._welcome(coming[answer]) or found
        return found

    def warn_leaving(self) -> None:
        """Tell the members whose machines are to go."""
        leaving = leaving_nodes()
        for member in self.members:
            if member.node in leaving and not member.is_leaving:
                logger.info("worker %s is told to leave: its machine is to go", member.name)
                self.tell(member)

    def tell(self, member: RayActor) -> None:
        """A member is to hand its unit back and gets no other."""
        member.is_leaving = True
        if member.came is not None:
            member.actor.leave.remote()

    def end(self, member: RayActor) -> None:
        """End a member for good; one that cannot be reached, too."""
        if member.came is not None:
            self._seconds += self.clock() - member.came
        self.members.remove(member)
        ray.kill(member.actor)

    def census(self) -> WorkerCounts:
        """See `Pool`."""
        now = self.clock()
        here = [member.came for member in self.members if member.came is not None]
        return WorkerCounts(
            num_workers=len(here),
            num_coming=len(self.members) - len(here),
            worker_seconds=self._seconds + sum(now - came for came in here),
        )

    def _start(self) -> None:
        options = ray.remote(self.worker).options(
            num_cpus=self.setup.config.run.threads_per_worker,
            num_gpus=self.gpus_per_worker,
            max_concurrency=ANSWER_THREADS,
        )
        actor = options.remote(self.setup)
        self.members.append(RayActor(actor=actor, hello=actor.try_describe.remote()))

    def _end_idle_leavers(self) -> None:
        for member in [m for m in self.members if m.is_leaving and not m.task]:
            self.end(member)

    def _welcome(self, member: RayActor) -> ModelInfo | None:
        try:
            answer = ray.get(member.hello)
            member.name, member.node = ray.get(
                [member.actor.name.remote(), member.actor.node.remote()], timeout=NAME_SECONDS
            )
        except RayError as error:  # it died, or its machine is broken: the others work on
            self._bury(member, reason_of(error))
            return None
        if isinstance(answer, str):
            if self._nobody_is_here():
                raise ValueError(answer)
            self._bury(member, answer)
            return None
        assert isinstance(answer, ModelInfo)
        member.came, self._stillborn = self.clock(), 0
        logger.info("worker %s joins", member.name)
        return answer

    def _bury(self, member: RayActor, why: str) -> None:
        """A member died before it had the model."""
        self.end(member)
        self._stillborn += 1
        logger.warning("a worker died while it started: %s", why)
        if self._stillborn >= MAX_STILLBORN and self._nobody_is_here():
            raise UnitError(
                f"{self._stillborn} workers in a row died before they had the model: {why}; "
                "does the model fit the memory of a worker?"
            )

    def _nobody_is_here(self) -> bool:
        return all(member.came is None for member in self.members)
