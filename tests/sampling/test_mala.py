"""Metropolis-adjusted chains against posteriors known exactly; what tuning and pilots report."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from spectro.sampling.chain import GroupChains
from spectro.sampling.config import ChainConfig
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.mala import Mala, steps_to_decorrelate
from spectro.sampling.pilot.pilot import run_pilot
from spectro.sampling.pilot.sampler_bias import mean_error
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Psgld
from tests.sampling.separable import Separable

LONG = ChainConfig(num_chains=4, num_draws=40, steps_between_draws=None)

SHORT = dataclasses.replace(LONG, num_draws=2)


def run(model: Separable, sampler: Mala, config: ChainConfig, seed: int = 0):
    randomness = KeyedRandomness(seed=seed)
    pilot = run_pilot(model, sampler, model.ids, randomness)
    chains = GroupChains(
        part=model, sampler=sampler, config=config, sampling_ids=model.ids,
        evaluation_ids=model.ids, randomness=randomness, pilot=pilot,
    ).run(range(config.num_chains))  # fmt: skip
    return pilot["theta"], [result.components["theta"] for result in chains.values()], chains


@pytest.mark.parametrize(
    ("size", "curvature", "quartic"),
    [
        (4, 200.0, 0.0),
        (4, 200.0, 4000.0),
        (300, 6.0, 0.0),
        (300, 60.0, 4000.0),
        pytest.param(300, 6.0, 4000.0, marks=pytest.mark.slow),
        pytest.param(300, 60.0, 0.0, marks=pytest.mark.slow),
    ],
)
def test_mean_and_deviation_are_those_of_the_posterior(
    size: int, curvature: float, quartic: float
) -> None:
    """Both moments: a step that inflates the variance passes neither. κ = nβh/γ: 0.6, 6, 20."""
    model = Separable.of(size=size, curvature=curvature, quartic=quartic)
    moments, chains, _ = run(model, Mala(gamma=100.0, nbeta=10.0), LONG)
    mean, deviation = model.exact(100.0, 10.0)
    trace = np.concatenate([chain.delta_loss for chain in chains])
    assert abs(trace.mean() - mean) < 4 * mean_error(chains)
    # The deviation of 160 draws, half of them worth one, is known to 8 %.
    assert abs(trace.std() / deviation - 1) < 0.3
    assert all(0.25 < chain.acceptance <= 1 for chain in chains)
    assert moments.acceptance >= 0.5


def test_without_a_loss_everything_is_accepted_and_the_law_is_the_prior() -> None:
    model = Separable.of(size=50, curvature=30.0)
    _, chains, results = run(model, Mala(gamma=40.0, nbeta=0.0), LONG)
    assert all(chain.acceptance == 1 for chain in chains)
    delta = torch.cat([r.draws.read("theta", slice(0, 40))["theta"] for r in results.values()])
    # 160 draws × 50 coordinates, correlation at most 0.1: γ⟨δ²⟩ is known to 1.7 %.
    assert abs(40.0 * float(delta.pow(2).mean()) - 1) < 0.05


def test_the_step_is_halved_until_proposals_are_accepted() -> None:
    """ρ is 0.2 where the posterior is nearly the prior, and its square roots where it is stiff."""
    rho = {}
    for curvature in (1.0, 300.0):
        model = Separable.of(size=100, curvature=curvature)
        moments, _, _ = run(
            model, Mala(gamma=100.0, nbeta=10.0), dataclasses.replace(LONG, num_draws=2)
        )
        rho[curvature] = moments.rho
    assert rho[1.0] == 0.2
    halvings = math.log(math.log(0.2) / math.log(rho[300.0]), 2)
    assert halvings >= 2
    assert halvings == pytest.approx(round(halvings))


def test_a_component_without_any_step_is_refused_with_the_reason() -> None:
    model = Separable.of(size=400, curvature=1e9)
    with pytest.raises(
        ValueError, match=r"component theta: .*raise sampler\.gamma.*lower sampler\.nbeta"
    ):
        run_pilot(model, Reweighted(gamma=1e-3, nbeta=1e6), model.ids, KeyedRandomness(seed=0))


@pytest.mark.parametrize("nbeta", [0.3, 30.0])
def test_the_pilot_knows_the_posterior_by_weights_or_by_chains(nbeta: float) -> None:
    model = Separable.of(size=200, curvature=20.0)
    pilot = run_pilot(model, Psgld(gamma=100.0, nbeta=nbeta), model.ids, KeyedRandomness(seed=1))
    moments = pilot["theta"]
    mean, deviation = model.exact(100.0, nbeta)
    assert moments.source == {0.3: "weights", 30.0: "metropolis"}[nbeta]
    assert abs(moments.delta_loss - mean) < 4 * moments.delta_loss_error
    assert moments.delta_loss_error < 0.3 * deviation
    assert abs(moments.delta_loss_deviation / deviation - 1) < 0.3


def test_reweighted_steps_where_its_weights_do_not_carry() -> None:
    model = Separable.of(size=200, curvature=20.0)
    moments, chains, _ = run(model, Reweighted(gamma=100.0, nbeta=30.0), LONG)
    assert moments.effective_fraction < 0.5
    assert all(not chain.independent and chain.corrected for chain in chains)
    mean, _ = model.exact(100.0, 30.0)
    trace = np.concatenate([chain.delta_loss for chain in chains])
    assert abs(trace.mean() - mean) < 4 * mean_error(chains)


def test_damage_names_a_gamma_that_mends_it() -> None:
    """ΔL = Σ h/2γ, with 100 coordinates of h = 20 about 1000/γ: 1.5 of 3 nats at γ = 667."""
    model = Separable.of(size=100, curvature=20.0)
    found = run_pilot(
        model, Mala(gamma=100.0, nbeta=1.0), model.ids, KeyedRandomness(seed=0), headroom=3.0
    )["theta"]
    expected = float(model.curvature_J.sum()) / 2 / 1.5
    assert expected <= found.gamma_needed <= 1.2 * expected * math.sqrt(10)
    whole = run_pilot(
        model, Mala(gamma=2000.0, nbeta=1.0), model.ids, KeyedRandomness(seed=0), headroom=3.0
    )["theta"]
    assert math.isnan(whole.gamma_needed)


def test_steps_to_forget() -> None:
    """ρ^k ≤ c first; where only half is accepted a step keeps (1 + ρ)/2 on average."""
    assert steps_to_decorrelate(0.5, 1.0, 0.1) == 4
    assert steps_to_decorrelate(0.5, 0.5, 0.1) == math.ceil(math.log(0.1) / math.log(0.75))


@pytest.mark.parametrize("rho", [0.0, 1.0, -0.1, float("nan")])
def test_rho_must_be_a_share(rho: float) -> None:
    with pytest.raises(ValueError, match=r"sampler\.rho must be between 0 and 1"):
        Mala(rho=rho)
