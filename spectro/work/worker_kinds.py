"""Kinds of workers, and how many of each the units ask for (ADR 093)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class WorkerKind(StrEnum):
    """What a worker holds. Without GPUs one kind does everything: `CPU`."""

    GPU = "GPU"
    """A GPU, with the model on it."""
    CPU = "CPU"
    """Cores; the model too where no worker holds a GPU."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Units that workers could do now, and later."""

    now: Mapping[WorkerKind, int] = field(default_factory=dict)
    """Units that run or are ready; those that wait for others do not count."""
    left: int = 0
    """Units that are not done and not given up, of all kinds."""
    proven: frozenset[WorkerKind] = frozenset()
    """Kinds whose units have shown progress: until then one worker (the canary) is enough."""
