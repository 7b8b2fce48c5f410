"""Chains, scoring and estimator on a quadratic model, against closed form.

The "model" is a vector θ; token y has loss  ℓ_y(θ) = a_yᵀθ + θᵀA_yθ/2  whatever its context. With
L = bᵀθ + θᵀHθ/2 the restricted posterior is the Gaussian N(μ, Σ), Σ = (nβ H_CC + γ)⁻¹ and
μ = −nβ Σ b_C, and for Gaussians
    E[ℓ_y] = a_yᵀμ + (tr A_yΣ + μᵀA_yμ)/2
    Cov(L, ℓ_y) = (b + Hμ)ᵀΣ(a_y + A_yμ) + tr(HΣA_yΣ)/2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from spectro.models.architecture import Weights
from spectro.sampling.chain import GroupChains
from spectro.sampling.config import ChainConfig
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.pilot.pilot import run_pilot
from spectro.sampling.reweighted import Reweighted, Sampler
from spectro.sampling.samplers import Exponential, Psgld
from spectro.susceptibility.estimator import ChainSums, EstimatorKind
from spectro.susceptibility.reliability import estimate_column, reliability
from spectro.susceptibility.score import ScoredChain, score_tile

SIZE, RESTRICTED, VOCAB = 5, 2, 12
GAMMA, NBETA = 20.0, 10.0


@dataclass(frozen=True)
class QuadraticGroup:
    """`GroupModel` in which the first `size` coordinates of θ move."""

    name: str
    size: int
    linear_VS: Tensor
    quadratic_VSS: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def weights(self, component: str) -> Weights:
        return {"theta": torch.zeros(self.size, dtype=torch.float64)}

    def prepare(self, ids_BT1: Tensor, top_k: None = None, sampled: None = None) -> Tensor:
        return ids_BT1[:, 1:]

    def clean_losses(self, clean: Tensor) -> Tensor:
        return torch.zeros(clean.shape, dtype=torch.float64)

    def losses(
        self, clean: Tensor, weights: Mapping[str, Weights], *, paired: bool = False
    ) -> dict[str, Tensor]:
        theta_RS = weights[self.name]["theta"]
        linear = theta_RS @ self.linear_VS[:, : self.size].T
        quadratic = torch.einsum(
            "rs,vst,rt->rv", theta_RS, self.quadratic_VSS[:, : self.size, : self.size], theta_RS
        )
        losses_RV = linear + quadratic / 2
        if not paired:
            return {self.name: losses_RV[:, clean]}
        shares = clean.view(len(losses_RV), -1, clean.shape[1])
        pairs = zip(losses_RV, shares, strict=True)
        return {self.name: torch.stack([own[targets] for own, targets in pairs])}


@pytest.fixture(scope="module")
def tokens() -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(0)
    root = torch.randn(VOCAB, SIZE, SIZE, generator=stream, dtype=torch.float64)
    return {
        "linear": 2 * torch.randn(VOCAB, SIZE, generator=stream, dtype=torch.float64),
        "quadratic": root @ root.transpose(1, 2),
        "ids": torch.arange(-1, VOCAB).clamp(min=0)[None],  # each token once, as a target
    }


def moments(tokens: dict[str, Tensor], size: int) -> tuple[np.ndarray, np.ndarray, float]:
    """(E[ℓ_y], Cov(L, ℓ_y), E[L]) under the exact posterior of the first `size` coordinates."""
    a = tokens["linear"][:, :size].numpy()
    A = tokens["quadratic"][:, :size, :size].numpy()
    b, H = a.mean(0), A.mean(0)
    sigma = np.linalg.inv(NBETA * H + GAMMA * np.eye(size))
    mu = -NBETA * sigma @ b

    def mean(linear: np.ndarray, square: np.ndarray) -> float:
        return float(linear @ mu + (np.trace(square @ sigma) + mu @ square @ mu) / 2)

    cov = [
        (b + H @ mu) @ sigma @ (a[y] + A[y] @ mu) + np.trace(H @ sigma @ A[y] @ sigma) / 2
        for y in range(VOCAB)
    ]
    return np.array([mean(a[y], A[y]) for y in range(VOCAB)]), np.array(cov), mean(b, H)


def sums(tokens: dict[str, Tensor], name: str, size: int, sampler: Sampler) -> ChainSums:
    group = QuadraticGroup(name, size, tokens["linear"], tokens["quadratic"])
    config = ChainConfig(
        num_chains=16, num_draws=50, steps_between_draws=3, num_burnin_steps=30, batch_size=1
    )
    ids, randomness = tokens["ids"], KeyedRandomness(seed=1)
    # Far from the prior: many draws make up for a fraction that a run refuses.
    found = run_pilot(group, sampler, ids, randomness)
    pilot = {n: dataclasses.replace(m, effective_fraction=1.0) for n, m in found.items()}
    every = range(config.num_chains)
    chains = GroupChains(
        part=group, sampler=sampler, config=config, sampling_ids=ids, evaluation_ids=ids,
        randomness=randomness, pilot=pilot,
    ).run(every)  # fmt: skip
    found = [chains[c].components[name] for c in every]
    assert all(c.independent == isinstance(sampler, Reweighted) for c in found)
    scored = {
        index: ScoredChain(
            draws=chain.draws, delta_loss={name: c.delta_loss}, weight={name: c.weight}
        )
        for index, (chain, c) in enumerate(zip(chains.values(), found, strict=True))
    }
    tile = score_tile(group, scored, ids)[name]
    return ChainSums(
        weighted_CN=tile.weighted_CN,
        plain_CN=tile.plain_CN,
        delta_loss=[c.delta_loss for c in found],
        weight=[c.weight for c in found],
    )


SAMPLERS = {
    "psgld": Psgld(gamma=GAMMA, nbeta=NBETA, step_size=2.0, damping=1e3),
    "exponential": Exponential(gamma=GAMMA, nbeta=NBETA, step_size=2.0, damping=1e3),
    "reweighted": Reweighted(gamma=GAMMA, nbeta=NBETA, min_effective_fraction=0.125),
    "reweighted_iid": Reweighted(
        gamma=GAMMA, nbeta=NBETA, min_effective_fraction=0.125, antithetic=False
    ),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_susceptibilities_equal_the_closed_form(tokens, name: str) -> None:
    """Within 4 jackknife errors for each of 12 tokens, plus the step's own bias, εΛ/4 ≈ 3 %."""
    component = sums(tokens, "c", RESTRICTED, SAMPLERS[name])
    full = sums(tokens, "full", SIZE, SAMPLERS[name])
    mean_N, cov_N, mean_loss = moments(tokens, RESTRICTED)
    full_N, _, full_loss = moments(tokens, SIZE)
    one_chain = -(cov_N - cov_N.mean())
    two_chain = one_chain - mean_loss * (mean_N - mean_loss) + mean_loss * (full_N - full_loss)
    for kind, exact in (
        (EstimatorKind.ONE_CHAIN, one_chain),
        (EstimatorKind.TWO_CHAIN, two_chain),
    ):
        column = estimate_column(component, full, kind)
        allowed = 4 * column.standard_error_N + 0.03 * np.abs(exact).max()
        assert (np.abs(column.chi_N - exact) < allowed).all()
        halves = reliability(column.moments)
        agreement = np.corrcoef(column.chi_N, exact)[0, 1]
        assert halves > 0.7
        assert agreement > halves  # all chains are nearer to the truth than halves to each other
