"""One setting of γ and nβ: what the pilot measured there, and the choice between settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spectro.calibrate.choose import SURE, Choice
from spectro.calibrate.law import Law
from spectro.calibrate.measures import Cell


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is known of one γ and nβ; without cells where it was not measured."""

    gamma: float
    """γ."""
    nbeta: float
    """nβ."""
    damage: float
    """Largest share of what the model has learnt that a component's draws lose."""
    damaged: str
    """The component that loses it."""
    effective_fraction: float = math.nan
    """Least effective fraction of a component's draws."""
    chained: tuple[str, ...] = ()
    """Components whose draws have too small a fraction for weights: they need chains."""
    chain_seconds: float = math.nan
    """What these chains would cost, whatever the number of tokens."""
    cells: tuple[Cell, ...] = ()
    """Measured."""
    law: Law | None = None
    """Fitted to them."""
    choice: Choice | None = None
    """The best split at this setting."""

    @property
    def log2_value(self) -> float:
        """log₂ of the held neighbours that its best split is foretold; NaN without."""
        if self.law is None or self.choice is None:
            return math.nan
        best = self.choice.best
        return self.law.log2_value(best.num_tokens, best.num_draws)

    @property
    def largest(self) -> Cell:
        """The measured cell of most tokens, then most draws."""
        return max(self.cells, key=lambda c: (c.num_tokens, c.num_draws))

    def error(self) -> float:
        """Standard error of log₂ v at the best split: the fit's, and drift from the largest n."""
        assert self.law is not None and self.choice is not None
        best, largest = self.choice.best, self.largest
        return math.hypot(
            self.law.error_of_difference(
                (best.num_tokens, best.num_draws), (largest.num_tokens, largest.num_draws)
            ),
            self.law.residual,
        )


def best_setting(settings: Sequence[Setting], asked: tuple[float, float]) -> tuple[Setting, bool]:
    """The setting to take, and whether it leads beyond the error of the difference.

    Where it does not, the setting that was asked for is taken if the best leads it by no more than
    that error, else the best.

    Raises ValueError where none was measured.
    """
    known = [s for s in settings if math.isfinite(s.log2_value)]
    if not known:
        raise ValueError("no setting could be judged")
    ordered = sorted(known, key=lambda s: -s.log2_value)
    best = ordered[0]

    def leads(other: Setting) -> bool:
        error = math.hypot(best.error(), other.error())
        return best.log2_value - other.log2_value > SURE * error

    taken = next((s for s in ordered if (s.gamma, s.nbeta) == asked and not leads(s)), best)
    return taken, all(leads(s) for s in ordered[1:])
