"""Serialisable checkpoint of a long computation, from which another process can resume.

Every piece with a state gives a snapshot of it and takes one back; snapshots of pieces join into
one of the whole. Randomness is keyed, so it has no state. A computation resumed from a
snapshot gives the same bits as an uninterrupted one on the same kind of device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # names of checkpoints are read without torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Tensors by name, on any device, and what else there is as JSON has it."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    """None of them is changed afterwards, and no two share memory."""
    values: dict[str, Any] = field(default_factory=dict)
    """Dictionaries, lists, strings, numbers; keys are strings."""

    def part(self, name: str) -> Checkpoint:
        """One of the snapshots that were joined."""
        prefix = f"{name}/"
        return Checkpoint(
            tensors={
                key.removeprefix(prefix): tensor
                for key, tensor in self.tensors.items()
                if key.startswith(prefix)
            },
            values=self.values[name],
        )


def joined(parts: Mapping[str, Checkpoint]) -> Checkpoint:
    """One snapshot of several; no name may be empty or contain a slash."""
    return Checkpoint(
        tensors={f"{n}/{key}": t for n, part in parts.items() for key, t in part.tensors.items()},
        values={name: part.values for name, part in parts.items()},
    )


def never() -> bool:
    """No checkpoint is ever due."""
    return False


def _nowhere(position: int, snapshot: Checkpoint) -> None:
    raise AssertionError("a checkpoint is due, but there is nowhere to put it")


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """How a computation resumes, and how it takes checkpoints."""

    resume: Checkpoint | None = None
    """Where to resume; None: from the start."""
    due: Callable[[], bool] = never
    """Asked wherever a snapshot can be taken: is one wanted now?"""
    save: Callable[[int, Checkpoint], None] = _nowhere
    """Takes (position, snapshot), the position growing from one to the next; may raise to end
    the computation there."""
