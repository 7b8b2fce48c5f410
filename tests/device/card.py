"""The pretended device's card: which storages are on it, how many bytes, and what was counted."""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = str(Path(__file__).parents[2] / "spectro") + "/"


@dataclass
class Card:
    """What is on the device, and what was counted."""

    memory_bytes: int
    launches: int = 0
    moves: Counter[str] = field(default_factory=Counter)
    """`to host`, `to device` or `read` with the function of `spectro` that asked → how often."""
    held: int = 0
    peak: int = 0
    quiet: bool = False
    """Whether operations are neither checked nor counted: a move's own."""
    forced: bool | None = None
    """Device of results, where the call names one."""
    _storages: dict[int, Any] = field(default_factory=dict)

    def has(self, tensor: Tensor) -> bool:
        """Whether a tensor is on the device."""
        return tensor.untyped_storage()._cdata in self._storages

    def put(self, tensor: Tensor) -> None:
        """A tensor is on the device from now on."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._storages:
            return
        if self.held + size > self.memory_bytes:
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {size} bytes: {self.held} of "
                f"{self.memory_bytes} are taken"
            )
        self.held += size
        self.peak = max(self.peak, self.held)

        def gone(_: object) -> None:
            del self._storages[key]
            self.held -= size

        self._storages[key] = weakref.ref(storage, gone)

    def limit(self, num_bytes: float) -> None:
        """Let tensors take no more than this."""
        self.memory_bytes = int(num_bytes)

    def moved(self, kind: str) -> None:
        """Count a transfer, or a read by the host."""
        self.moves[f"{kind} {place()}"] += 1

    def reset(self) -> None:
        """Count from 0 again."""
        self.launches, self.peak = 0, self.held
        self.moves.clear()


def place() -> str:
    """The innermost function of `spectro` that is being called, as `models/delta.py next_batch`."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(ROOT):
            return f"{file.removeprefix(ROOT)} {frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"
