"""Batch sizes: rows of a pass that fit in memory, halved when memory runs out."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch

logger = logging.getLogger(__name__)
T = TypeVar("T")

CPU_ROWS = 4096
"""Token positions × draws in one pass on a CPU: large enough for efficient products, small
enough that a layer's activations stay near the processor."""
CPU_STEP_BYTES = 2**31
"""What the activations of one step may take on a CPU; a constant, whatever is free."""
PASS_WEIGHT_BYTES = 2**31
"""Weights of the draws of one pass: those of a whole model come one at a time."""
SHARE_OF_MEMORY = 0.8
"""Of the device's free memory, what one pass may take."""


@dataclass(kw_only=True)
class RowBudget:
    """How many rows (token positions × draws) are computed at once; halved when memory runs out.

    The number changes the order of sums, so the last bits of a result, and nothing else.
    """

    rows: int
    """Rows of one pass."""
    least: int = field(default=1, repr=False)
    """Fewest rows that can be asked for."""

    @classmethod
    def fitting(cls, device: torch.device, bytes_per_row: int) -> RowBudget:
        """As many rows as the memory that is free on the device now."""
        return cls(rows=max(1, int(SHARE_OF_MEMORY * free_bytes(device)) // bytes_per_row))

    def halve(self, why: str) -> None:
        """Half as many from now on."""
        self.rows = max(self.least, self.rows // 2)
        logger.warning("out of memory: going on with %d rows at once (%s)", self.rows, why)


def draws_at_once(rows: int, positions: int, draw_bytes: int) -> int:
    """Draws in one pass over so many positions: as rows allow, and as their own weights do."""
    return max(1, min(rows // positions, PASS_WEIGHT_BYTES // draw_bytes))


def free_bytes(device: torch.device) -> int:
    """Memory that can be taken on a device now."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def fit(budget: RowBudget, work: Callable[[], T]) -> T:
    """Do the work; each time memory runs out, halve the budget and do it again.

    Raises the device's own error when one row does not fit.
    """
    while True:
        try:
            return work()
        except RuntimeError as error:  # torch.OutOfMemoryError is one; a CPU raises it bare
            if not _out_of_memory(error) or budget.rows <= budget.least:
                raise
            why = str(error).splitlines()[0]
        # Outside the handler: the traceback held the tensors of the failed attempt.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        budget.halve(why)


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
