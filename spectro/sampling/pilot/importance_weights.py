"""Importance weights of independent draws, and errors of statistics of weighted draws.

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
