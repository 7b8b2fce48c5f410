"""Limits of a query, and how much of a context its answer shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a query may take."""

    memory_gib: float = 4.0
    """Memory of the database, beside one batch of rows; > 0. What does not fit goes to a scratch
    folder, as far as it can."""
    threads: int = 1
    """Threads of the database, ≥ 1. With more, sums of floats may differ in their last bits, and
    rows come in any order but the one that is asked for."""

    def __post_init__(self) -> None:
        if not self.memory_gib > 0:
            raise ValueError(f"query.limits.memory_gib must be > 0, found {self.memory_gib}")
        if self.threads < 1:
            raise ValueError(f"query.limits.threads must be at least 1, found {self.threads}")


@dataclass(frozen=True, kw_only=True)
class Window:
    """How much of a context is shown."""

    before: int = 12
    """Tokens before y, ≥ 0."""
    after: int = 4
    """Tokens after it, ≥ 0."""

    def __post_init__(self) -> None:
        for name in ("before", "after"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"query.window.{name} must be at least 0, found {getattr(self, name)}"
                )
