"""How well a rule predicts who is in a set: counts, and the scores that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class NameScore:
    """Tokens of the held-out sequences; scores are NaN where they have no member."""

    num_tokens: int
    """All of them."""
    num_members: int
    """Those in the set."""
    num_matches: int
    """Those that satisfy the rule."""
    num_both: int
    """Members that satisfy it."""

    @property
    def base_rate(self) -> float:
        """Share of members among all tokens: the precision of a rule that knows nothing."""
        return _ratio(self.num_members, self.num_tokens)

    @property
    def precision(self) -> float:
        """Share of members among the tokens that satisfy the rule; 0 where none does."""
        if not self.num_members:
            return float("nan")
        return self.num_both / max(1, self.num_matches)

    @property
    def recall(self) -> float:
        """Share of the members that satisfy the rule."""
        return _ratio(self.num_both, self.num_members)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        if not self.num_members:
            return float("nan")
        return 2 * self.num_both / (self.num_members + self.num_matches)

    @property
    def auc(self) -> float:
        """Probability that a member ranks above another token, ties half: of a rule, which ranks
        in two classes, (recall + share of other tokens that do not satisfy it) / 2."""
        others = self.num_tokens - self.num_members
        false = _ratio(self.num_matches - self.num_both, others)
        return (self.recall + 1 - false) / 2


def information(both: Counts, matches: Counts, members: Counts, num_tokens: int) -> Floats:
    """Information in bits, over all tokens, that a rule gives about membership.

    num_tokens times the mutual information of (satisfies the rule, is a member), from the counts of
    the two-by-two table; arguments broadcast.
    """
    rate = members / num_tokens
    others = num_tokens - matches
    missed = members - both
    bits = (
        _weighted(both, matches * rate)
        + _weighted(matches - both, matches * (1 - rate))
        + _weighted(missed, others * rate)
        + _weighted(others - missed, others * (1 - rate))
    )
    return np.asarray(bits, np.float64)


def _weighted(seen: Counts, expected: Floats) -> Floats:
    """seen · log2(seen / expected), 0 where nothing is seen."""
    ratio = np.divide(seen, expected, out=np.ones(np.broadcast(seen, expected).shape),
                      where=(seen > 0) & (expected > 0))  # fmt: skip
    return np.asarray(seen * np.log2(ratio), np.float64)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
