"""Retry budgets: how often a unit may fail before it is set aside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RetryBudgets:
    """Failures of one unit that are retried, by kind."""

    errors: int = 3
    """Times that it may raise an error; ≥ 1."""
    crashes: int = 5
    """Times that its worker may die on a machine that is alive; ≥ 1."""
    losses: int = 4
    """Times that its machine may go without notice and without progress; ≥ 1."""
