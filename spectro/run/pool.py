"""Pools of workers: in this process, or Ray actors with the model resident."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import ray

from spectro.run.config import PipelineConfig
from spectro.run.driver import Outcome
from spectro.run.info import ModelInfo
from spectro.run.units import Unit
from spectro.run.worker import Worker

logger = logging.getLogger(__name__)


class InlinePool:
    """One worker in this process: for tests, debuggers, and `run.num_workers=0`."""

    def __init__(self, config: PipelineConfig) -> None:
        self._worker = Worker(config)
        self._outcomes: list[Outcome] = []

    def describe(self) -> ModelInfo:
        """See `Worker.describe`."""
        return self._worker.describe()

    def idle(self) -> int:
        """One, unless an outcome waits to be fetched."""
        return 0 if self._outcomes else 1

    def submit(self, unit: Unit) -> None:
        """Do the unit now."""
        self._outcomes.append(self._worker.run(unit))

    def wait(self, seconds: float) -> list[Outcome]:
        """The outcome of the last unit."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def positions(self) -> dict[str, float]:
        """Nothing runs between calls."""
        return {}


class RayPool:
    """Ray actors, each with the model resident; a dead one is replaced."""

    def __init__(self, config: PipelineConfig, *, num_workers: int, gpus_per_worker: float) -> None:
        self._config = config
        self._actor_class = ray.remote(Worker).options(
            num_cpus=config.run.threads_per_worker,
            num_gpus=gpus_per_worker,
            max_concurrency=2,  # one thread works, the other answers `position`
        )
        self._actors: list[Any] = [self._start() for _ in range(num_workers)]
        self._running: dict[Any, tuple[Any, Unit]] = {}
        self._asked: dict[Any, str] = {}
        self._positions: dict[str, float] = {}

    def describe(self) -> ModelInfo:
        """What the first worker loaded; raises its error."""
        answer = ray.get(self._actors[0].try_describe.remote())
        if isinstance(answer, str):
            raise ValueError(answer)
        assert isinstance(answer, ModelInfo)
        return answer

    def idle(self) -> int:
        """Workers without a unit."""
        return len(self._actors) - len(self._running)

    def submit(self, unit: Unit) -> None:
        """Give the unit to a free worker."""
        busy = [actor for actor, _ in self._running.values()]
        actor = next(a for a in self._actors if a not in busy)
        task = actor.run.remote(dataclasses.replace(unit, needs=()))
        self._running[task] = (actor, unit)

    def wait(self, seconds: float) -> list[Outcome]:
        """Outcomes of the units that ended."""
        done, _ = ray.wait(list(self._running), num_returns=1, timeout=seconds)
        return [self._collect(task) for task in done]

    def positions(self) -> dict[str, float]:
        """Last known shares done; asks anew without waiting for the answers."""
        answered, _ = (
            ray.wait(list(self._asked), num_returns=max(1, len(self._asked)), timeout=0)
            if self._asked
            else ([], [])
        )
        for answer in answered:
            unit_id = self._asked.pop(answer)
            try:
                self._positions[unit_id] = ray.get(answer)
            except ray.exceptions.RayActorError:
                self._positions.pop(unit_id, None)
        for actor, unit in self._running.values():
            if unit.id not in self._asked.values():
                self._asked[actor.position.remote(unit.id)] = unit.id
        return self._positions

    def close(self) -> None:
        """End the workers."""
        for actor in self._actors:
            ray.kill(actor)

    def _start(self) -> Any:
        return self._actor_class.remote(self._config)

    def _collect(self, task: Any) -> Outcome:
        actor, unit = self._running.pop(task)
        self._positions.pop(unit.id, None)
        try:
            outcome = ray.get(task)
        except ray.exceptions.RayActorError as error:
            logger.warning("worker lost at unit %s: %s", unit.id, error)
            self._actors[self._actors.index(actor)] = self._start()
            return Outcome(unit_id=unit.id, seconds=0.0, lost=True)
        assert isinstance(outcome, Outcome)
        return outcome
