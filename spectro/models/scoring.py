"""How losses of displaced models are computed where no gradient is wanted."""

from __future__ import annotations

from dataclasses import dataclass

from spectro.models.cost.budget import RowBudget
from spectro.models.top_k_softmax import TopKFit

LIST_SHARE = 8
"""A batch with short lists has at most one position for so many rows of a pass: lists are read
once per pass, so several draws must share each."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How one worker computes losses."""

    budget: RowBudget
    """Rows at once."""
    shortlisting: TopKFit | None = None
    """Lists, for the components that may use them; None: the exact loss for all."""

    @property
    def positions(self) -> int:
        """Token positions that are prepared together."""
        share = 1 if self.shortlisting is None else LIST_SHARE
        return max(1, self.budget.rows // share)
