"""A worker: keeps the model, does one unit at a time, writes its objects to storage itself."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
import transformers

from spectro.config import PipelineConfig
from spectro.storage.store import DamagedObjectError, MissingObjectError
from spectro.work import logs
from spectro.work.errors import HandedBack, one_line
from spectro.work.model_info import ModelInfo
from spectro.work.outcome import Outcome, UnitResult
from spectro.work.registry import StageRegistry
from spectro.work.stage import WorkerContext
from spectro.work.threads import keep_to_threads, own_threads, use_threads
from spectro.work.units import Unit

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """What a worker is made from; Ray pickles it, its functions by reference."""

    config: PipelineConfig
    """Of the run."""
    stages: StageRegistry
    """How each unit is run."""
    context: Callable[[PipelineConfig], WorkerContext]
    """Makes what the worker keeps between units."""
    describe: Callable[[Any], ModelInfo]
    """Checks the run's inputs and describes its model, whose weights are not loaded.

    Raises ValueError or FileNotFoundError, in one line, for what the run cannot use."""
    load: Callable[[Any], ModelInfo]
    """Loads the model of a context and describes it, with its device and its digest; raises as
    `describe`."""
    model: ModelInfo | None = None
    """The model's description where it is known: workers that do not hold it look at nothing."""


class Worker:
    """Runs units.

    Args:
        setup: what it works on.
        holds_model: whether it loads the model when it is described.
        stop_requested: set when the worker is to hand its unit back.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        *,
        holds_model: bool = True,
        stop_requested: threading.Event | None = None,
    ) -> None:
        transformers.logging.disable_progress_bar()
        transformers.logging.set_verbosity_error()
        self._setup, self._holds_model = setup, holds_model
        self._context = setup.context(setup.config)
        self._stop_requested = stop_requested or threading.Event()
        self._model = None if holds_model else setup.model
        self._position = ("", 0.0)
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def name(self) -> str:
        """Host and process id."""
        return self._name

    def node(self) -> str:
        """Ray's id of its machine."""
        return str(ray.get_runtime_context().get_node_id())

    def describe(self) -> ModelInfo:
        """The model's description; loads it if the worker is to hold it. Errors: `WorkerSetup`."""
        if self._model is None:
            self._model = self._setup.describe(self._context)
            if self._holds_model:
                self._model = self._setup.load(self._context)
        return self._model

    def try_describe(self) -> ModelInfo | str:
        """The description, or the one line that says why there is none."""
        try:
            return self.describe()
        except (ValueError, OSError) as error:
            return one_line(error)

    def position(self, unit_id: str) -> float:
        """Share of a unit that is done."""
        current, share = self._position
        return share if current == unit_id else 0.0

    def request_stop(self) -> None:
        """Hand back the current unit as soon as another worker can go on with it."""
        self._stop_requested.set()

    def run(self, unit: Unit) -> Outcome:
        """Do a unit; errors are returned, for a traceback means nothing to the driver."""
        # OpenMP keeps its number of threads per calling thread, and Ray may call from any.
        run = self._setup.config.run
        keep_to_threads(run.threads_per_worker)
        if unit.takes_all_cores:
            use_threads(own_threads(run))
        start = time.monotonic()
        self._position = (unit.id, 0.0)

        def on_progress(done: float, total: float) -> None:
            self._position = (unit.id, done / total if total else 1.0)

        result, error, trace = UnitResult.DONE, "", ""
        try:
            with logs.unit(unit.id):
                self._setup.stages.execute(
                    unit, self._context, on_progress, self._stop_requested.is_set
                )
        except HandedBack as back:
            result, error = UnitResult.HANDED_BACK, str(back)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the driver must hear of it
            result, error, trace = _fate(failure), one_line(failure), traceback.format_exc()
        return Outcome(
            unit_id=unit.id,
            result=result,
            seconds=time.monotonic() - start,
            worker=self._name,
            error=error,
            trace=trace,
        )


class ProcessWorker(Worker):
    """A worker in a process of its own, which Ray collects the log of."""

    def __init__(self, setup: WorkerSetup, *, holds_model: bool) -> None:
        super().__init__(setup, holds_model=holds_model)
        logs.configure_worker_logging(setup.config.run.uri, self.name())


def _fate(failure: Exception) -> UnitResult:
    """Whether the same unit could end otherwise elsewhere or later.

    What is wrong with the input or the chain (ValueError, a source that is not there) is wrong
    everywhere; a damaged object may be repaired, and anything else may be the machine's doing.
    """
    if isinstance(failure, MissingObjectError):
        return UnitResult.MISSING
    is_input = isinstance(failure, ValueError | FileNotFoundError)
    if is_input and not isinstance(failure, DamagedObjectError):
        return UnitResult.REFUSED
    return UnitResult.FAILED
