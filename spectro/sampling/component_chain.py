"""What is recorded of one component's chain: ΔL, importance weights, losses, acceptance.

Shapes: T draws, S steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ComponentChain:
    """One component's chain, but for its draws."""

    independent: bool
    """Whether its draws are independent and come from their keys."""
    delta_loss: FloatArray
    """ΔL(t) = L(w_t) − L(w*) on the evaluation set, nats, [T]."""
    weight: FloatArray
    """ω_t, the importance weight of every draw; 1 for stepped draws, [T]."""
    reliability: float
    """Split-half reliability expected of the column's own part with all chains; NaN where the
    draws are too few to say."""
    steps_between_draws: int
    """Steps from draw to draw; 0 for independent draws."""
    step_loss: FloatArray
    """L at each step, nats, [S]: of the minibatch before it, of `mala` of the evaluation set after
    it; empty for independent draws."""
    acceptance: float = math.nan
    """Mean probability with which Metropolis steps were accepted after burn-in; NaN for draws that
    are not corrected: independent ones, and those of other update rules."""
    observables: Mapping[str, FloatArray] = field(default_factory=dict)
    """Further observable → φ_q(t) − φ_q(w*) of every draw, [T]; in the observable's unit."""

    @property
    def corrected(self) -> bool:
        """Whether its steps were corrected, so that they have no bias of their size."""
        return not math.isnan(self.acceptance)
