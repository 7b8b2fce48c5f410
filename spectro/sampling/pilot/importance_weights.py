"""Importance weights and effective sample size (ESS).

The posterior is N(w*, 1/γ) times exp(−nβ ΔL), so independent Gaussian draws with weights
    ω_t ∝ exp(−nβ ΔL(t))
give its expectations exactly as their number grows (design §2); the ESS of n draws is
(Σω)²/Σω².
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def importance_weights(delta_loss_T: FloatArray, nbeta: float, center: float) -> FloatArray:
    """ω_t = exp(−nβ (ΔL(t) − center)), [T]; the same center for all chains of a component.

    The center cancels wherever weights are normalised; it keeps them near 1. Exponents are held
    within ±600, far beyond where any draw could count or be discounted.
    """
    return np.exp(np.clip(-nbeta * (np.asarray(delta_loss_T) - center), -600.0, 600.0))


def ess_of_weights(weight_T: FloatArray) -> float:
    """Effective sample size (Σω)²/Σω² of independent draws; 0 for no draws."""
    squares = float((weight_T**2).sum())
    return float(weight_T.sum()) ** 2 / squares if squares > 0 else 0.0


def ess_of_trace(trace_T: FloatArray) -> float:
    """Effective sample size T/τ of a correlated trace.

    τ = 1 + 2 Σ_k ρ_k up to the first k where ρ_{2k} + ρ_{2k+1} ≤ 0 (Geyer 1992, the initial
    positive sequence). Never more than T; T itself for a trace too short or constant to say.
    """
    num_draws = len(trace_T)
    centred = trace_T - trace_T.mean()
    variance = float(centred @ centred)
    if num_draws < 4 or variance <= 0:
        return float(num_draws)
    rho = np.array([centred[: num_draws - k] @ centred[k:] for k in range(num_draws)]) / variance
    tau = -1.0
    for k in range(0, num_draws - 1, 2):
        pair = rho[k] + rho[k + 1]
        if pair <= 0:
            break
        tau += 2 * pair
    return float(num_draws / max(tau, 1.0))


def deviation_error(trace_CT: FloatArray, effective: float) -> float:
    """Standard error of the standard deviation within chains: σ/2 √((κ − 1)/n), κ the kurtosis.

    Args:
        trace_CT: traces of several chains, [C, T].
        effective: n, their effective sample size.
    """
    centred = trace_CT - trace_CT.mean(axis=1, keepdims=True)
    variance = float((centred**2).mean())
    if variance <= 0 or effective <= 0:
        return float("nan")
    kurtosis = float((centred**4).mean()) / variance**2
    return float(np.sqrt(variance * max(kurtosis - 1, 0.0) / effective) / 2)
