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

WRITING_SHARE = 0.05
"""Largest share of the time for which checkpoints are written."""


@dataclass
class CheckpointWriter:
    """Checkpoints of one attempt at a unit.

    One is due `every_seconds` after the last was written, or later, so that writing takes at most
    `WRITING_SHARE` of the time; and at once when the worker is asked to stop: the attempt then ends
    with HandedBack as soon as the checkpoint is stored.
    """

    bank: CheckpointBank
    """Where they are stored."""
    background: BackgroundWriter
    """Writes them, after the draws that were handed over before."""
    every_seconds: float
    """Least time between two checkpoints."""
    should_stop: Callable[[], bool]
    """Whether the worker was asked to stop."""
    more: Callable[[], dict[str, Any]] = dict
    """Further JSON values of a checkpoint, computed when it is written."""
    resumed: Checkpoint | None = None
    """The checkpoint that the attempt resumes from."""
    clock: Callable[[], float] = time.monotonic
    _start: float = field(init=False)
    _last: float = field(init=False)
    _writing_seconds: float = 0.0
    """How long the last checkpoint took: copied to the host, serialised and stored."""
    _writing: bool = False

    def __post_init__(self) -> None:
        self._start = self._last = self.clock()

    @property
    def seconds(self) -> float:
        """Time that the unit took, earlier attempts that it resumes from included."""
        before = self.resumed.values["seconds"] if self.resumed is not None else 0.0
        return float(before) + self.clock() - self._start

    def checkpoints(self) -> Checkpoints:
        """The interface that chains and scoring use."""
        resume = self.resumed.part("work") if self.resumed is not None else None
        return Checkpoints(resume=resume, due=self._due, save=self._save)

    def _due(self) -> bool:
        interval = max(self.every_seconds, self._writing_seconds / WRITING_SHARE)
        waited = self.clock() - self._last >= interval
        return (waited and not self._writing) or self.should_stop()

    def _save(self, position: int, snapshot: Checkpoint) -> None:
        # To the host at once: the device's memory is reckoned without checkpoints.
        start = self.clock()
        tensors = {f"work/{name}": tensor.cpu() for name, tensor in snapshot.tensors.items()}
        self._writing = True
        copying = self.clock() - start
        self.background.submit(self._put, position, tensors, snapshot.values, self.seconds, copying)
        if self.should_stop():
            self.background.drain()
            raise HandedBack("asked to stop; a checkpoint is in storage")

    def _put(
        self,
        position: int,
        tensors: dict[str, Any],
        values: dict[str, Any],
        seconds: float,
        copying_seconds: float,
    ) -> None:
        start = self.clock()
        more = {"work": values, "seconds": seconds, **self.more()}
        try:
            self.bank.put(position, Checkpoint(tensors=tensors, values=more))
        finally:  # an error is raised where the next one is handed over
            self._last, self._writing = self.clock(), False
            self._writing_seconds = copying_seconds + self._last - start
