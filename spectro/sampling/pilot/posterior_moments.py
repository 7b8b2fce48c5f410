"""Moments of one component's posterior from independent draws and their weights (design §2).

Draws of N(w*, 1/γ) with weights exp(−nβ ΔL) give the moments at every nβ: nothing is passed again.

Shapes: P draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from spectro.sampling.effective_sample_size import ess_of_weights
from spectro.sampling.pilot.importance_weights import importance_weights

FloatArray = npt.NDArray[np.float64]
MIN_KNOWN_FRACTION = 0.5
"""Effective fraction of the draws below which weights do not give E[ΔL]: few draws then carry the
sum, and its error is itself unknown."""
NUM_DAMAGE_DRAWS = 4
"""P where nothing is to be decided or judged but whether γ leaves a model at all."""


@dataclass(frozen=True, kw_only=True)
class PosteriorMoments:
    """Moments of the exact posterior of one component; NaN where not known."""

    effective_fraction: float
    """(Σω)²/(P Σω²), in (0, 1]."""
    prior_delta_loss: float
    """Mean ΔL of the unweighted draws, nats: the center of importance weights."""
    delta_loss: float
    """E[ΔL] of the posterior, nats."""
    delta_loss_error: float
    """Its Monte-Carlo standard error."""
    delta_loss_deviation: float
    """Standard deviation of ΔL under the posterior, nats."""
    delta_loss_deviation_error: float = float("nan")
    """Its Monte-Carlo standard error."""
    source: str = ""
    """Where E[ΔL] is from: `weights` of independent draws, `metropolis` chains, or empty."""
    rho: float = float("nan")
    """ρ of the tuned `mala` step; NaN where none was tuned."""
    acceptance: float = float("nan")
    """Its acceptance probability."""
    num_steps: int = 0
    """Gradients over the evaluation set that tuning and reference chains took."""
    headroom: float = float("nan")
    """ln V − L(w*) on the evaluation set, nats: a posterior with this E[ΔL] knows no more than a
    uniform guess."""
    gamma_needed: float = float("nan")
    """γ at which draws lose less than half of `headroom`, where they lose more at the run's γ."""
    shortlist_error: float = float("nan")
    """Error of Δℓ by the top-K softmax, as a share of its size; NaN where not measured."""
    prior_delta_losses: list[float] = field(default_factory=list)
    """ΔL of every unweighted draw, nats, from which moments at any nβ follow; empty where one nβ
    is all that the sampler can have."""


def moments_of(delta_loss_P: FloatArray, nbeta: float) -> PosteriorMoments:
    """Self-normalised mean and deviation of ΔL, where enough draws count."""
    weight_P = importance_weights(delta_loss_P, nbeta, float(delta_loss_P.min()))
    share_P = weight_P / weight_P.sum()
    fraction = ess_of_weights(weight_P) / len(weight_P)
    known = fraction >= MIN_KNOWN_FRACTION and len(weight_P) > NUM_DAMAGE_DRAWS
    mean = float(share_P @ delta_loss_P)
    known = known and math.isfinite(mean)
    residual_P = delta_loss_P - mean
    deviation = float(np.sqrt(share_P @ residual_P**2))
    variance_error = float(np.sqrt(((share_P * (residual_P**2 - deviation**2)) ** 2).sum()))
    return PosteriorMoments(
        effective_fraction=fraction,
        prior_delta_loss=float(delta_loss_P.mean()),
        delta_loss=mean if known else math.nan,
        delta_loss_error=float(np.sqrt(((share_P * residual_P) ** 2).sum())) if known else math.nan,
        delta_loss_deviation=deviation if known else math.nan,
        delta_loss_deviation_error=variance_error / (2 * deviation)
        if known and deviation > 0
        else math.nan,
        source="weights" if known else "",
    )
