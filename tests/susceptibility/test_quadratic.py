"""Chains, scoring and estimator on a quadratic model (quadratic.py), against closed form."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from torch import Tensor

from spectro.sampling.chain import GroupChains
from spectro.sampling.config import ChainConfig, ObservableConfig
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.observables import Observables, SplitSequences
from spectro.sampling.pilot.pilot import run_pilot
from spectro.sampling.reweighted import Reweighted, Sampler
from spectro.sampling.samplers import Exponential, Psgld
from spectro.susceptibility.estimator import ChainSums, EstimatorKind
from spectro.susceptibility.measurement import chain_sums, scored_chain
from spectro.susceptibility.reliability import estimate_column, estimate_influence, reliability
from spectro.susceptibility.score import score_tile
from tests.susceptibility.quadratic import (
    GAMMA,
    NBETA,
    RESTRICTED,
    SIZE,
    QuadraticGroup,
    loss_moments,
    random_tokens,
)


@pytest.fixture(scope="module")
def tokens() -> dict[str, Tensor]:
    return random_tokens()


def moments(tokens: dict[str, Tensor], size: int) -> tuple[np.ndarray, np.ndarray, float]:
    """(E[ℓ_y], Cov(L, ℓ_y), E[L]) under the exact posterior of the first `size` coordinates."""
    mean_N, cov_NN = loss_moments(tokens, size)
    return mean_N, cov_NN.mean(0), float(mean_N.mean())


QUERIES = {
    "one": ObservableConfig(tokens=(4,)),
    "three": ObservableConfig(tokens=(0, 7, 9)),
    "elsewhere": ObservableConfig(tokens=(4,), split="probe"),
}


def no_logits(ids_BT: Tensor) -> Tensor:
    raise AssertionError("losses need no logits")


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
    observables = Observables(QUERIES, lambda split: SplitSequences(ids_ST1=ids), no_logits)
    chains = GroupChains(
        part=group, sampler=sampler, config=config, sampling_ids=ids, evaluation_ids=ids,
        randomness=randomness, pilot=pilot, observables=observables,
    ).run(every)  # fmt: skip
    found = [chains[c].components[name] for c in every]
    assert all(c.independent == isinstance(sampler, Reweighted) for c in found)
    scored = {c: scored_chain(chain.draws, chain.components) for c, chain in chains.items()}
    return chain_sums(score_tile(group, scored, ids), {name: found})[name]


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


@pytest.mark.parametrize("name", SAMPLERS)
def test_influences_equal_the_closed_form(tokens, name: str) -> None:
    """−Cov(φ, ℓ_y) within 4 jackknife errors for each of 12 tokens, plus the step's own bias."""
    component = sums(tokens, "c", RESTRICTED, SAMPLERS[name])
    _, cov_NN = loss_moments(tokens, RESTRICTED)
    for query in ("one", "three"):
        exact = -cov_NN[list(QUERIES[query].tokens)].mean(0)
        column = estimate_influence(component, query)
        allowed = 4 * column.standard_error_N + 0.03 * np.abs(exact).max()
        assert (np.abs(column.chi_N - exact) < allowed).all()
        assert np.corrcoef(column.chi_N, exact)[0, 1] > 0.9
    assert np.array_equal(
        estimate_influence(component, "elsewhere").chi_N, estimate_influence(component, "one").chi_N
    )
