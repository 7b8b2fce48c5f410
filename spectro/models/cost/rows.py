"""Batch sizes of a resident model: by free memory on an accelerator, constants on a CPU.

On a CPU the memory that happens to be free must not decide: rows decide the order of sums, so the
last bits of a result, and those are the same on every CPU of a kind.
"""

from __future__ import annotations

from spectro.models.config import Precision
from spectro.models.cost.budget import CPU_ROWS, CPU_STEP_BYTES, RowBudget
from spectro.models.cost.memory import FLOAT_BYTES, scoring_bytes_per_row, stepping_bytes_per_row
from spectro.models.engine import Engine
from spectro.models.universal import UniversalModel

LOGIT_COPIES = 4
"""Logits, their float32 copy, log-probabilities and a temporary."""


def scoring_budget(model: Engine, list_size: int = 0) -> RowBudget:
    """Rows of a scoring pass, by a top-K softmax where `list_size` is K."""
    if isinstance(model, UniversalModel):
        return _universal_budget(model, LOGIT_COPIES)
    if model.device.type == "cpu":
        return RowBudget(rows=CPU_ROWS)
    row = scoring_bytes_per_row(model.shape, _product_bytes(model), list_size)
    return RowBudget.fitting(model.device, row)


def stepping_budget(model: Engine) -> RowBudget:
    """Rows of a step, with what its backward pass keeps."""
    row = stepping_bytes_per_row(model.shape)
    if isinstance(model, UniversalModel):
        return _universal_budget(model, 2 * LOGIT_COPIES, row)
    if model.device.type == "cpu":
        return RowBudget(rows=max(1, CPU_STEP_BYTES // row))
    return RowBudget.fitting(model.device, row)


def _universal_budget(model: UniversalModel, copies: int, other_bytes: int = 0) -> RowBudget:
    """Rows by their logits, which the universal engine has all at once."""
    row = other_bytes + copies * model.shape.vocab_size * FLOAT_BYTES
    if model.device.type == "cpu":
        return RowBudget(rows=max(1, min(CPU_ROWS, CPU_STEP_BYTES // row)))
    return RowBudget.fitting(model.device, row)


def _product_bytes(model: Engine) -> int:
    return 2 if model.precision is Precision.BFLOAT16 else 4
