"""A worker: keeps the model resident, does one unit at a time, writes to storage itself."""

from __future__ import annotations

import logging
import time
import traceback

import torch
import transformers

from spectro.run.config import PipelineConfig
from spectro.run.driver import Outcome
from spectro.run.errors import one_line
from spectro.run.execute import Resident, execute
from spectro.run.info import ModelInfo
from spectro.run.units import Unit

logger = logging.getLogger(__name__)


class Worker:
    """Runs units; becomes a Ray actor in `RayPool`."""

    def __init__(self, config: PipelineConfig) -> None:
        transformers.logging.disable_progress_bar()
        transformers.logging.set_verbosity_error()
        self._threads = config.run.threads_per_worker
        self._resident = Resident(config)
        self._position = ("", 0.0)

    def describe(self) -> ModelInfo:
        """Load the model and describe it.

        Raises ValueError, in one line, if it cannot be loaded.
        """
        return ModelInfo.of(self._resident.hf_model)

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

    def run(self, unit: Unit) -> Outcome:
        """Do a unit; errors are returned, for a traceback means nothing to the driver."""
        # OpenMP keeps its number of threads per calling thread, and Ray may call from any.
        torch.set_num_threads(self._threads)
        start = time.monotonic()
        self._position = (unit.id, 0.0)

        def on_progress(done: float, total: float) -> None:
            self._position = (unit.id, done / total if total else 1.0)

        error = trace = None
        try:
            execute(unit, self._resident, on_progress)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the driver must hear of it
            error, trace = one_line(failure), traceback.format_exc()
        return Outcome(unit_id=unit.id, seconds=time.monotonic() - start, error=error, trace=trace)
