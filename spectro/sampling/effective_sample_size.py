"""Effective sample size (ESS) of weighted independent draws and of correlated traces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spectro.sampling.component_chain import ComponentChain

FloatArray = npt.NDArray[np.float64]


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


def effective_sample_size(chains: Sequence[ComponentChain]) -> float:
    """Effective sample size (ESS) of all chains of a component, by their ΔL and weights."""
    if chains[0].independent:
        return ess_of_weights(np.concatenate([chain.weight for chain in chains]))
    return sum(ess_of_trace(chain.delta_loss) for chain in chains)
