"""Checkpoints of a unit: when one is due, written in the background."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from spectro.formats.checkpoint_bank import CheckpointBank
from spectro.sampling.checkpoint import Checkpoint, Checkpoints
from spectro.storage.background import BackgroundWriter
from spectro.work.errors import HandedBack


@dataclass
class CheckpointWriter:
    """Checkpoints of one attempt at a unit.

    One is due `every_seconds` after the last was written, and at once when the worker is asked to
    stop: the attempt then ends with HandedBack as soon as the checkpoint is stored.
    """

    bank: CheckpointBank
    """Where they are stored."""
    background: BackgroundWriter
    """Writes them, after the draws that were handed over before."""
    every_seconds: float
    """Time between two checkpoints."""
    should_stop: Callable[[], bool]
    """Whether the worker was asked to stop."""
    more: Callable[[], dict[str, Any]] = dict
    """Further JSON values of a checkpoint, computed when it is written."""
    resumed: Checkpoint | None = None
    """The checkpoint that the attempt resumes from."""
    _start: float = field(default_factory=time.monotonic)
    _last: float = field(default_factory=time.monotonic)
    _writing: bool = False

    @property
    def seconds(self) -> float:
        """Time that the unit took, earlier attempts that it resumes from included."""
        before = self.resumed.values["seconds"] if self.resumed is not None else 0.0
        return float(before) + time.monotonic() - self._start

    def checkpoints(self) -> Checkpoints:
        """The interface that chains and scoring use."""
        resume = self.resumed.part("work") if self.resumed is not None else None
        return Checkpoints(resume=resume, due=self._due, save=self._save)

    def _due(self) -> bool:
        waited = time.monotonic() - self._last >= self.every_seconds
        return (waited and not self._writing) or self.should_stop()

    def _save(self, position: int, snapshot: Checkpoint) -> None:
        # To the host at once: the device's memory is reckoned without checkpoints.
        tensors = {f"work/{name}": tensor.cpu() for name, tensor in snapshot.tensors.items()}
        self._writing = True
        self.background.submit(self._put, position, tensors, snapshot.values, self.seconds)
        if self.should_stop():
            self.background.drain()
            raise HandedBack("asked to stop; a checkpoint is in storage")

    def _put(
        self, position: int, tensors: dict[str, Any], values: dict[str, Any], seconds: float
    ) -> None:
        more = {"work": values, "seconds": seconds, **self.more()}
        try:
            self.bank.put(position, Checkpoint(tensors=tensors, values=more))
        finally:  # an error is raised where the next one is handed over
            self._last, self._writing = time.monotonic(), False
