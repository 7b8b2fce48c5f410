"""Independent Gaussian draws with importance weights, and the samplers there are (design §2)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from spectro.sampling.mala import Mala
from spectro.sampling.samplers import Gaussian, Stepper, require_at_least_0

MIN_EFFECTIVE_FRACTION = 4 / 32
"""ESS of 4 of the pilot's 32 draws (`pilot.py`): importance weights with less have collapsed, and
the fraction is itself noise."""


@dataclass(frozen=True, kw_only=True)
class Reweighted(Mala):
    """Independent Gaussian draws with importance weights ω ∝ exp(−nβ ΔL), where they allow it.

    Where the effective fraction (Σω)²/(n Σω²) of a component's pilot is large enough, its draws
    need no chain, no gradient and no burn-in and are exact; elsewhere it is a `mala` chain of the
    same posterior, exact as well (design §2, ADR 064).
    """

    nbeta: float = field(default=10.0, metadata={"rest": "also_nbeta"})
    """nβ, effective inverse temperature; ≥ 0. In files and commands it may be a list, as in
    `sampler.nbeta=[10, 3, 0]`: the run's own nβ first, then `also_nbeta`."""
    also_nbeta: tuple[float, ...] = ()
    """Further nβ, each a measurement of its own along the same draws, by their weights alone."""
    antithetic: bool = True
    """Draws in pairs δ, −δ: what is odd in δ, most of a draw's noise, cancels in their mean."""
    min_effective_fraction: float = 0.5
    """Smallest effective fraction at which a component is drawn without a chain; in [1/8, 1].
    Of the pilot's 32 draws one counts alone where weights have collapsed: a fraction of 1/32 is
    what the worst component has, and below four effective draws (1/8) nothing is known."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for nbeta in self.also_nbeta:
            require_at_least_0("sampler.also_nbeta", nbeta)
        names = [nbeta_name(nbeta) for nbeta in (self.nbeta, *self.also_nbeta)]
        if len(set(names)) < len(names):
            raise ValueError(f"sampler.nbeta must name each nbeta once, found {', '.join(names)}")
        if not MIN_EFFECTIVE_FRACTION <= self.min_effective_fraction <= 1:
            raise ValueError(
                f"sampler.min_effective_fraction must be in [{MIN_EFFECTIVE_FRACTION}, 1], found "
                f"{self.min_effective_fraction}: fewer than 4 of the pilot's 32 draws would count, "
                "and weights that have collapsed to one draw have 1/32"
            )

    def at(self, nbeta: float) -> Reweighted | Gaussian:
        """The sampler of one nβ alone, whose independent draws are the same."""
        if nbeta == 0:
            return Gaussian(gamma=self.gamma, antithetic=self.antithetic)
        return dataclasses.replace(self, nbeta=nbeta, also_nbeta=())


def nbeta_name(nbeta: float) -> str:
    """nβ as names and messages have it: `3`, `0.5`."""
    return f"{nbeta:.12g}"


Sampler = Stepper | Mala | Gaussian
"""Any way of drawing; `Reweighted` is a `Mala` where it must step."""
