"""Chains whose bias is known: settings, and a simulation of their own that measures the bias.

The simulation is a plain numpy version of design's update rules on `Separable`, many chains at
once, on the very schedule of the case; the exact mean and deviation of ΔL are sums on a grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from spectro.sampling.config import ChainConfig
from spectro.sampling.mala import Mala
from spectro.sampling.reweighted import Reweighted, Sampler
from spectro.sampling.samplers import Exponential, Gaussian, Psgld, Sgld
from tests.sampling.separable import NUM_SEQUENCES, Separable

GAMMA = 100.0
NUM_SIMULATED = 100
"""Chains of a simulation: with 40 draws of each its mean is known to 0.03 deviations or better."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One chain of one component, and the loss that it should sample."""

    sampler: Sampler
    curvature: float = 4.0
    quartic: float = 0.0
    slope: float = 0.0
    tilt: float = 0.0
    """Slope of the loss at w* in every coordinate: ΔL is then nearly linear."""
    size: int = 100
    between: int | None = 1
    burnin: int = 20
    batch: int = NUM_SEQUENCES
    draws: int = 40
    headroom: float = 1e3
    """ln V − L(w*), nats."""

    @property
    def model(self) -> Separable:
        return Separable.of(
            size=self.size,
            curvature=self.curvature,
            quartic=self.quartic,
            slope=self.slope,
            tilt=self.tilt,
        )

    @property
    def config(self) -> ChainConfig:
        return ChainConfig(
            num_chains=4,
            num_draws=self.draws,
            steps_between_draws=self.between,
            num_burnin_steps=self.burnin,
            batch_size=self.batch,
        )


def simulated_bias(name: str) -> float:
    """Bias of E[ΔL] of a case, in standard deviations of ΔL under the posterior."""
    case = (BIASED | INFLATED | HEALTHY)[name]
    mean, deviation = case.model.exact(case.sampler.gamma, case.sampler.nbeta)
    return float((np.mean(simulated_losses(name)) - mean) / deviation)


def simulated_spread(name: str) -> float:
    """Standard deviation of ΔL of a case over that of the posterior."""
    case = (BIASED | INFLATED | HEALTHY)[name]
    _, deviation = case.model.exact(case.sampler.gamma, case.sampler.nbeta)
    return float(np.std(simulated_losses(name)) / deviation)


@cache
def simulated_losses(name: str) -> np.ndarray:
    """ΔL of every draw of many chains of a case, [draws, chains]."""
    case = (BIASED | INFLATED | HEALTHY)[name]
    sampler, model = case.sampler, case.model
    assert isinstance(sampler, Sgld | Psgld | Exponential)
    stream = np.random.default_rng(0)
    eps, gamma, nbeta = sampler.step_size, sampler.gamma, sampler.nbeta
    theta = np.zeros((NUM_SIMULATED, case.size))
    moment = np.zeros_like(theta)
    slope_S, found = model.slope_SJ, []
    assert case.between is not None
    num_steps = case.burnin + (case.draws - 1) * case.between + 1
    for step in range(num_steps):
        g = model.curvature_J * theta + 4 * model.quartic_J * theta**3
        g = g + _slopes(case, slope_S, stream)
        if isinstance(sampler, Sgld):
            scale = np.full_like(theta, eps)
        else:
            moment = sampler.alpha * moment + (1 - sampler.alpha) * g**2
            scale = eps / (np.sqrt(moment) + sampler.damping)
        xi = stream.normal(size=theta.shape)
        if isinstance(sampler, Exponential):
            rho = np.exp(-scale * gamma / 2)
            theta = rho * theta - (1 - rho) / gamma * nbeta * g + np.sqrt((1 - rho**2) / gamma) * xi
        else:
            theta = theta - scale / 2 * (nbeta * g + gamma * theta) + np.sqrt(scale) * xi
        if step >= case.burnin and (step - case.burnin) % case.between == 0:
            shared = model.curvature_J * theta**2 / 2 + model.quartic_J * theta**4
            found.append((shared + slope_S.mean(axis=0) * theta).sum(axis=1))
    return np.array(found)


def _slopes(case: Case, slope_SJ: np.ndarray, stream: np.random.Generator) -> np.ndarray:
    """Mean slope of every chain's minibatch, without replacement, [chains, J]."""
    if case.slope == 0 or case.batch == NUM_SEQUENCES:
        return slope_SJ.mean(axis=0)
    every = np.tile(np.arange(NUM_SEQUENCES), (NUM_SIMULATED, 1))
    return slope_SJ[stream.permuted(every, axis=1)[:, : case.batch]].mean(axis=1)


WEAK = {"gamma": GAMMA, "nbeta": 1.0}
"""Weights of the pilot carry: κ = nβh/γ = 0.04."""
WEAKER = {"gamma": GAMMA, "nbeta": 0.25}
"""κ = 0.01: a step that forgets everything is off by κ of E[ΔL]."""
STRONG = {"gamma": GAMMA, "nbeta": 30.0}
"""They do not: κ = 6 with h = 20."""
STIFF = {"curvature": 20.0}


def _sgld(rate: float, posterior: dict[str, float], curvature: float) -> Sgld:
    """ε(γ + nβh) = rate: the variance is too large by 1/(1 − rate/4)."""
    return Sgld(step_size=rate / (GAMMA + posterior["nbeta"] * curvature), **posterior)


BIASED: dict[str, Case] = {
    "sgld, step 10 times too large": Case(sampler=_sgld(0.5, WEAK, 4.0)),
    "sgld, step 20 times too large": Case(sampler=_sgld(1.0, WEAK, 4.0)),
    "sgld, step 40 times too large": Case(sampler=_sgld(2.0, WEAK, 4.0)),
    "sgld, weights unknown, 0.5": Case(sampler=_sgld(0.5, STRONG, 20.0), between=4, **STIFF),
    "sgld, weights unknown, 1.0": Case(sampler=_sgld(1.0, STRONG, 20.0), between=3, **STIFF),
    "sgld, weights unknown, 2.0": Case(sampler=_sgld(2.0, STRONG, 20.0), between=2, **STIFF),
    "psgld, step too large": Case(sampler=Psgld(step_size=1e-2, damping=1.0, **WEAK), between=2),
    "psgld, step far too large": Case(sampler=Psgld(step_size=2e-2, damping=1.0, **WEAK)),
    "psgld, weights unknown": Case(
        sampler=Psgld(step_size=4e-3, damping=1.0, **STRONG), between=3, burnin=100, **STIFF
    ),
    "psgld, weights unknown, larger": Case(
        sampler=Psgld(step_size=8e-3, damping=1.0, **STRONG), between=3, burnin=100, **STIFF
    ),
    "exponential, κ 6, ε 3e-3": Case(
        sampler=Exponential(step_size=3e-3, **STRONG), between=3, burnin=100, **STIFF
    ),
    "exponential, κ 6, ε 6e-3": Case(
        sampler=Exponential(step_size=6e-3, **STRONG), between=3, burnin=100, **STIFF
    ),
    "exponential, quartic loss": Case(
        sampler=Exponential(step_size=6e-3, **STRONG), between=3, burnin=100, curvature=10.0,
        quartic=100.0,
    ),
    "exponential, κ 0.3 known by weights": Case(
        sampler=Exponential(step_size=0.1, gamma=GAMMA, nbeta=3.0), curvature=10.0, size=40,
    ),
    "step too small, still near w*": Case(sampler=_sgld(1e-3, WEAK, 4.0), between=2),
    "psgld, too small": Case(sampler=Psgld(step_size=1e-5, **WEAK), between=4),
    "psgld, too small, weights unknown": Case(
        sampler=Psgld(step_size=3e-6, **STRONG), between=4, **STIFF
    ),
    "minibatch noise, batch 1": Case(
        sampler=Sgld(step_size=1e-4, **STRONG), between=20, burnin=60, slope=5.0, batch=1, **STIFF
    ),
    "minibatch noise, weights known": Case(
        sampler=Sgld(step_size=1e-3, **WEAK), between=15, burnin=60, slope=60.0, batch=1
    ),
    "preconditioner without memory": Case(
        sampler=Psgld(step_size=1e-3, alpha=0.0, damping=0.1, **STRONG), between=20, burnin=100,
        slope=4.0, batch=1, **STIFF,
    ),
    "preconditioner that follows the state, small step": Case(
        sampler=Psgld(step_size=4e-4, damping=1.0, **WEAK), between=40, burnin=200
    ),
    "preconditioner without memory, weights known": Case(
        sampler=Psgld(step_size=2e-2, alpha=0.0, damping=1.0, **WEAK), between=20, burnin=100,
        slope=20.0, batch=1,
    ),
}  # fmt: skip
INFLATED: dict[str, Case] = {
    "linear loss, sgld at 3/a": Case(
        sampler=Sgld(step_size=3.0 / GAMMA, gamma=GAMMA, nbeta=0.1), curvature=0.1, tilt=2.0,
        between=2,
    ),
    "linear loss, psgld": Case(
        sampler=Psgld(step_size=2.0, damping=100.0, gamma=GAMMA, nbeta=0.1), curvature=0.1,
        tilt=2.0, between=3,
    ),
}  # fmt: skip
"""The mean of ΔL is right within half a deviation; its deviation, and χ with it, is not."""
DESTROYED: dict[str, Case] = {
    "exact draws, above ln V": Case(sampler=Gaussian(gamma=GAMMA), headroom=1.5),
    "reweighted, above ln V": Case(sampler=Reweighted(**WEAK), headroom=1.5),
    "corrected chain, above ln V": Case(
        sampler=Reweighted(**STRONG), between=None, headroom=1.0, draws=20, **STIFF
    ),
    "half of what was learnt": Case(sampler=Gaussian(gamma=GAMMA), headroom=3.0),
}
HEALTHY: dict[str, Case] = {
    "sgld, small step": Case(sampler=_sgld(0.04, WEAK, 4.0), between=40, burnin=150),
    "sgld, small step, weights unknown": Case(
        sampler=_sgld(0.04, STRONG, 20.0), between=40, burnin=150, **STIFF
    ),
    "psgld, small step, steady preconditioner": Case(
        sampler=Psgld(step_size=0.04, damping=100.0, **WEAK), between=40, burnin=200, draws=80
    ),
    "exponential, κ 0.01, one step a draw": Case(sampler=Exponential(step_size=3e-2, **WEAKER)),
    "exponential, larger": Case(sampler=Exponential(step_size=1e-1, **WEAKER)),
    "exponential, quartic": Case(sampler=Exponential(step_size=3e-2, **WEAKER), quartic=5.0),
    "exponential, minibatches": Case(
        sampler=Exponential(step_size=3e-2, **WEAKER), slope=2.0, batch=8
    ),
    "exponential, few weights": Case(sampler=Exponential(step_size=3e-2, **WEAKER), size=6),
    "exponential, many weights": Case(
        sampler=Exponential(step_size=3e-2, gamma=GAMMA, nbeta=0.05), size=1000
    ),
    "exponential, α 0.9": Case(sampler=Exponential(step_size=3e-2, alpha=0.9, **WEAKER)),
    "exponential, long": Case(sampler=Exponential(step_size=3e-2, **WEAKER), draws=100),
    "exponential, short": Case(sampler=Exponential(step_size=3e-2, **WEAKER), draws=20),
}
CORRECTED: dict[str, Case] = {
    "mala, weak": Case(sampler=Mala(**WEAK), between=None),
    "mala, strong": Case(sampler=Mala(**STRONG), between=None, **STIFF),
    "mala, quartic": Case(sampler=Mala(**STRONG), between=None, curvature=10.0, quartic=100.0),
    "mala, few weights": Case(sampler=Mala(**STRONG), between=None, size=6, **STIFF),
    "mala, fixed distance": Case(sampler=Mala(**STRONG), between=20, **STIFF),
    "reweighted, strong": Case(sampler=Reweighted(**STRONG), between=None, **STIFF),
    "reweighted, no chain": Case(sampler=Reweighted(**WEAK)),
    "gaussian": Case(sampler=Gaussian(gamma=GAMMA)),
}
