"""One worker in this process: for tests, debuggers, and `run.num_workers=0`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from spectro.formats.sessions import RunningUnit
from spectro.work.model_info import ModelInfo
from spectro.work.outcome import Outcome, WorkerCounts
from spectro.work.stop_conditions import StopConditions
from spectro.work.units import Unit
from spectro.work.worker import Worker, WorkerSetup
from spectro.work.worker_kinds import Demand, WorkerKind


class InlinePool:
    """Does a unit when it is submitted.

    Args:
        setup: of its worker.
        holds_model: whether it loads the model when it is described.
        on_ready: checks what it describes; raises ValueError.
        stop_requested: set when the run is to stop; the current unit is then handed back.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        holds_model: bool,
        on_ready: Callable[[ModelInfo], None],
        stop_requested: threading.Event | None = None,
    ) -> None:
        self._worker = Worker(setup, holds_model=holds_model, stop_requested=stop_requested)
        self._on_ready = on_ready
        self._started = time.monotonic()
        self._outcomes: list[Outcome] = []
        self._gpus, self._worked_seconds = 0.0, 0.0

    def describe(self, stop: StopConditions, on_wait: Callable[[], None]) -> ModelInfo:
        """See `Worker.describe`."""
        model = self._worker.describe()
        self._gpus = 1.0 if model.device.startswith("cuda") else 0.0
        self._on_ready(model)
        return model

    @property
    def has_gpu_workers(self) -> bool:
        """One worker does all."""
        return False

    def kind_of(self, unit: Unit) -> WorkerKind:
        """One worker does all."""
        return WorkerKind.CPU

    def adjust(self, demand: Demand) -> None:
        """See `Pool`; the one worker stays."""

    def idle(self) -> dict[WorkerKind, int]:
        """One, unless an outcome waits to be fetched."""
        return {WorkerKind.CPU: 0 if self._outcomes else 1}

    def submit(self, unit: Unit) -> None:
        """Do the unit now."""
        self._outcomes.append(self._worker.run(unit))
        self._worked_seconds += self._outcomes[-1].seconds

    def wait(self, seconds: float) -> list[Outcome]:
        """The outcome of the last unit."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def running(self) -> list[RunningUnit]:
        """Nothing runs between calls."""
        return []

    def request_stop(self) -> None:
        """Nothing runs between calls."""

    def worker_counts(self) -> WorkerCounts:
        """This process."""
        seconds = time.monotonic() - self._started
        return WorkerCounts(
            num_workers=1,
            num_starting=0,
            worker_seconds=seconds,
            num_gpus=self._gpus,
            gpu_seconds_held=self._gpus * seconds,
            gpu_seconds_worked=self._gpus * self._worked_seconds,
        )

    def close(self) -> None:
        """Nothing is to be ended."""
