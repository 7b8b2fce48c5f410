"""How losses of displaced models are computed where no gradient is wanted."""

from __future__ import annotations

from dataclasses import dataclass

from spectro.models.cost.budget import RowBudget
from spectro.models.top_k_softmax import TopKFit
from spectro.settings import refuse_without_effect

TOP_K_SHARE = 8
"""Rows of a pass per position of a batch with a top-K softmax: the K rows of a position are read
once per pass, so several draws must share them."""


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """The approximation of the softmax, within a measured error."""

    shortlist_size: int = 1024
    """K, likeliest next tokens per position (top_k_softmax.py); 0: the whole vocabulary always. It
    is used where the vocabulary is at least 16 times as large."""
    max_shortlist_error: float = 0.01
    """Largest error of Δℓ, as a share of its size over the pilot's draws and the evaluation
    set, at which a component's losses are taken from the top-K softmax; the errors of draws mostly
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

    def require_top_k(self, vocab_size: int) -> None:
        """Raise ValueError if settings of the top-K softmax are given where it is not used."""
        if self.shortlist_size and not self.uses_top_k(vocab_size):
            reason = (
                f"on this model: lists are used where the vocabulary ({vocab_size}) is at least 16 "
                "times as large as scoring.shortlist_size"
            )
            names = ("shortlist_size", "max_shortlist_error")
            refuse_without_effect(self, "scoring.", dict.fromkeys(names, reason))

    def uses_top_k(self, vocab_size: int) -> bool:
        """Whether K is smaller than the vocabulary by enough to pay."""
        return 0 < 16 * self.shortlist_size <= vocab_size


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
