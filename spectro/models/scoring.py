"""How losses of displaced models are computed where no gradient is wanted."""

from __future__ import annotations

from dataclasses import dataclass

from spectro.models.cost.budget import RowBudget
from spectro.models.top_k_softmax import TopKFit
from spectro.settings import refuse_without_effect

LIST_SHARE = 8
"""A batch with short lists has at most one position for so many rows of a pass: lists are read
once per pass, so several draws must share each."""


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """What of the arithmetic may be approximated, within a measured error."""

    shortlist_size: int = 1024
    """K, listed next tokens per position (see shortlist.py); 0: the whole vocabulary always. It
    is used where the vocabulary is at least 16 times as large."""
    max_shortlist_error: float = 0.01
    """Largest error of Δℓ, as a share of its size over the pilot's draws and the evaluation
    set, at which a component's losses are taken from short lists; the errors of draws mostly
    cancel in χ, which is off by far less."""

    def __post_init__(self) -> None:
        if self.shortlist_size < 0:
            raise ValueError(
                f"scoring.shortlist_size must be at least 0, found {self.shortlist_size}"
            )
        if not self.max_shortlist_error >= 0:
            raise ValueError(
                f"scoring.max_shortlist_error must be at least 0, found {self.max_shortlist_error}"
            )

        if self.shortlist_size == 0:
            reason = "where scoring.shortlist_size is 0: every loss is exact"
            refuse_without_effect(self, "scoring.", {"max_shortlist_error": reason})

    def require_lists(self, vocab_size: int) -> None:
        """Raise ValueError if settings of short lists are given for a vocabulary without them."""
        if self.shortlist_size and not self.lists(vocab_size):
            reason = (
                f"on this model: lists are used where the vocabulary ({vocab_size}) is at least 16 "
                "times as large as scoring.shortlist_size"
            )
            names = ("shortlist_size", "max_shortlist_error")
            refuse_without_effect(self, "scoring.", dict.fromkeys(names, reason))

    def lists(self, vocab_size: int) -> bool:
        """Whether lists are shorter than the vocabulary by enough to pay."""
        return 0 < 16 * self.shortlist_size <= vocab_size


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
