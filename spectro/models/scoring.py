"""How losses of displaced models are computed where no gradient is wanted."""

from __future__ import annotations

from dataclasses import dataclass

from spectro.models.cost.budget import RowBudget
from spectro.models.top_k_softmax import TopKFit

TOP_K_SHARE = 8
"""Rows of a pass per position of a batch with a top-K softmax: the K rows of a position are read
once per pass, so several draws must share them."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How one worker computes losses."""

    budget: RowBudget
    """Rows at once."""
    top_k: TopKFit | None = None
    """Top-K softmax, for the components that may use it; None: the exact loss for all."""

    @property
    def positions(self) -> int:
        """Token positions that are prepared together."""
        share = 1 if self.top_k is None else TOP_K_SHARE
        return max(1, self.budget.rows // share)
