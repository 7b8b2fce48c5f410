"""Independent draws: exact, keyed, antithetic, and read in any slices."""

from __future__ import annotations

import math

import pytest
import torch

from spectro.sampling.draws import GaussianDraws, JoinedDraws, StackedDraws, gaussian_draws
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.reweighted import Reweighted, Sampler
from spectro.sampling.samplers import Exponential, Gaussian

GAMMA, COORDINATES = 50.0, 40_000
WEIGHTS = {"c": {"w": torch.zeros(COORDINATES, dtype=torch.float64), "b": torch.zeros(3)}}


def draws(*, antithetic: bool = True, chain: int = 0, seed: int = 3) -> GaussianDraws:
    return GaussianDraws(
        weights=WEIGHTS,
        gamma=GAMMA,
        antithetic=antithetic,
        chain=chain,
        randomness=KeyedRandomness(seed=seed),
    )


@pytest.mark.parametrize("antithetic", [False, True])
def test_every_draw_has_mean_zero_and_variance_one_over_gamma(antithetic: bool) -> None:
    """At 3 standard errors of a mean, sd/√n, and of a variance, var·√(2/n)."""
    for draw in draws(antithetic=antithetic).read("c", slice(0, 6))["w"]:
        assert abs(float(draw.mean())) < 3 * math.sqrt(1 / GAMMA / COORDINATES)
        assert abs(float(draw.var()) - 1 / GAMMA) < 3 / GAMMA * math.sqrt(2 / COORDINATES)


def test_pairs_are_opposite_and_everything_else_is_independent() -> None:
    """Correlations of independent draws are below 4/√n."""
    found = draws().read("c", slice(0, 6))["w"]
    other = draws(chain=1).read("c", slice(0, 6))["w"]
    assert torch.equal(found[::2], -found[1::2])
    single = torch.cat(
        [found[::2], other[::2], draws(antithetic=False).read("c", slice(3, 6))["w"]]
    )
    correlation = torch.corrcoef(single) - torch.eye(len(single))
    assert float(correlation.abs().max()) < 4 / math.sqrt(COORDINATES)


@pytest.mark.parametrize("antithetic", [False, True])
def test_any_slices_give_the_same_draws(antithetic: bool) -> None:
    whole = draws(antithetic=antithetic).read("c", slice(0, 7))
    for start, stop in ((0, 1), (1, 4), (3, 4), (5, 7)):
        part = draws(antithetic=antithetic).read("c", slice(start, stop))
        assert all(torch.equal(part[b], whole[b][start:stop]) for b in whole)


@pytest.mark.parametrize(
    ("sampler", "antithetic"),
    [
        (Gaussian(gamma=GAMMA), True),
        (Gaussian(gamma=GAMMA, antithetic=False), False),
        (Reweighted(gamma=GAMMA), True),
        (Exponential(gamma=GAMMA), False),
    ],
)
def test_a_sampler_says_whether_its_draws_come_in_pairs(sampler: Sampler, antithetic: bool) -> None:
    made = gaussian_draws(WEIGHTS, sampler, 0, KeyedRandomness(seed=3))
    assert (made.antithetic, made.gamma) == (antithetic, GAMMA)


def test_joined_draws_ask_each_component_its_own_source() -> None:
    stacked = StackedDraws(draws={"d": {"w": torch.arange(5.0)[:, None]}})
    joined = JoinedDraws(sources={"c": draws(), "d": stacked})
    assert joined.read("d", slice(1, 3))["w"].flatten().tolist() == [1.0, 2.0]
    assert torch.equal(joined.read("c", slice(2, 4))["w"], draws().read("c", slice(2, 4))["w"])
