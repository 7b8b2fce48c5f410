"""Batch sizes of a resident model: by free memory on an accelerator, constants on a CPU.

On a CPU the memory that happens to be free must not decide: rows decide the order of sums, so the
last bits of a result, and those are the same on every CPU of a kind.
"""

from __future__ import annotations

from spectro.models.config import Precision
from spectro.models.cost.budget import RowBudget
from spectro.models.cost.memory import (
    cpu_scoring_rows,
    cpu_stepping_rows,
    scoring_bytes_per_row,
    stepping_bytes_per_row,
)
from spectro.models.engine import Engine


def scoring_budget(model: Engine, list_size: int = 0) -> RowBudget:
    """Rows of a scoring pass, by a top-K softmax where `list_size` is K."""
    if model.device.type == "cpu":
        return RowBudget(rows=cpu_scoring_rows(model.shape))
    row = scoring_bytes_per_row(model.shape, _product_bytes(model), list_size)
    return RowBudget.fitting(model.device, row)


def stepping_budget(model: Engine) -> RowBudget:
    """Rows of a step, with what its backward pass keeps."""
    if model.device.type == "cpu":
        return RowBudget(rows=cpu_stepping_rows(model.shape))
    return RowBudget.fitting(model.device, stepping_bytes_per_row(model.shape))


def _product_bytes(model: Engine) -> int:
    return 2 if model.precision is Precision.BFLOAT16 else 4
