"""Independent Gaussian draws with importance weights, and the samplers there are (design §2)."""

from __future__ import annotations

from dataclasses import dataclass

from spectro.sampling.mala import Mala
from spectro.sampling.samplers import Gaussian, Stepper

LEAST_EFFECTIVE_FRACTION = 4 / 32
"""4 effective draws of the pilot's 32 (`pilot.py`): below, its fraction is itself noise."""


@dataclass(frozen=True, kw_only=True)
class Reweighted(Mala):
    """Independent Gaussian draws with importance weights ω ∝ exp(−nβ ΔL), where they allow it.

    Where the effective fraction (Σω)²/(n Σω²) of a component's pilot is large enough, its draws
    need no chain, no gradient and no burn-in and are exact; elsewhere it is a `mala` chain of the
    same posterior, exact as well (design §2, ADR 064).
    """

    antithetic: bool = True
    """Draws in pairs δ, −δ: what is odd in δ, most of a draw's noise, cancels in their mean."""
    min_effective_fraction: float = 0.5
    """Smallest effective fraction at which a component is drawn without a chain; in [1/8, 1].
    Of the pilot's 32 draws one counts alone where weights have collapsed: a fraction of 1/32 is
    what the worst component has, and below four effective draws (1/8) nothing is known."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not LEAST_EFFECTIVE_FRACTION <= self.min_effective_fraction <= 1:
            raise ValueError(
                f"sampler.min_effective_fraction must be in [{LEAST_EFFECTIVE_FRACTION}, 1], found "
                f"{self.min_effective_fraction}: fewer than 4 of the pilot's 32 draws would count, "
                "and weights that have collapsed to one draw have 1/32"
            )


Sampler = Stepper | Mala | Gaussian
"""Any way of drawing; `Reweighted` is a `Mala` where it must step."""
