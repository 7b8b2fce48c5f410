"""The split of a budget into tokens and draws that finds most, with its margin and error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spectro.calibrate.law import Law

SURE = 2.0
"""Standard errors by which the best split must lead to be called decided."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """A number of tokens with a number of draws each that the budget pays."""

    num_sequences: int
    """Probe sequences per subset."""
    num_tokens: int
    """n, in all."""
    num_draws: int
    """r, per token and component."""
    cost_seconds: float
    """Of one device."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The best of some splits."""

    best: Split
    """Which."""
    runner_up: Split | None
    """The next best; None where the budget allows no other."""
    margin: float
    """By how many doublings of held neighbours the best leads; 0 without a runner-up."""
    error: float
    """Standard error of the margin; NaN where the pilot cannot state one."""

    @property
    def is_decided(self) -> bool:
        """Whether the lead is beyond its error; a split without a rival is."""
        return self.runner_up is None or self.margin > SURE * self.error


def choose(splits: Sequence[Split], law: Law) -> Choice:
    """The split with most held neighbours by the law.

    Raises ValueError for no split.
    """
    if not splits:
        raise ValueError("no number of tokens and draws fits into the budget")
    ordered = sorted(splits, key=lambda s: -law.log2_value(s.num_tokens, s.num_draws))
    best, *others = ordered
    if not others:
        return Choice(best=best, runner_up=None, margin=0.0, error=0.0)
    pair = [(split.num_tokens, split.num_draws) for split in ordered[:2]]
    return Choice(
        best=best,
        runner_up=others[0],
        margin=law.log2_value(*pair[0]) - law.log2_value(*pair[1]),
        error=law.error_of_difference(*pair),
    )
