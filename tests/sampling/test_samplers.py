"""Update rules against closed forms on Gaussian targets.

Each rule is run on many independent coordinates, so that Monte-Carlo errors are exact: with n
coordinates the standard error of a mean is sd/√n, of a variance var·√(2/n), of an
autocovariance var·√((1+r²)/n). Everything is judged at 3 of them; seeds are fixed.

The target is L(w) = h (δ − m)²/2, so p ∝ exp{−nβ L − γ δ²/2} has precision Λ = nβ h + γ and mean
nβ h m/Λ. A preconditioner is constant where the damping dwarfs the gradient: D = 1/a.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spectro.sampling import samplers
from spectro.sampling.config import ChainConfig
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Exponential, Gaussian, Psgld, Sgld, Stepper

COORDINATES = 40_000
GAMMA, NBETA, CURVATURE, OPTIMUM = 50.0, 10.0, 4.0, 0.3
PRECISION = NBETA * CURVATURE + GAMMA
BIG = 1e6  # damping that makes D = 1/a to 1e-5


def run(sampler: Stepper, num_steps: int, curvature: float = CURVATURE) -> list[torch.Tensor]:
    """δ after every step, [coordinates] each."""
    state = sampler.init({"w": torch.zeros(COORDINATES, dtype=torch.float64)})
    randomness, trace = KeyedRandomness(seed=3), []
    for step in range(num_steps):
        delta = state.displacement["w"]
        noise = randomness.noise("c", 0, step, state.displacement)
        state = sampler.step(state, {"w": curvature * (delta - OPTIMUM)}, noise)
        trace.append(state.displacement["w"])
    return trace


def check(trace: list[torch.Tensor], mean: float, variance: float, correlation: float) -> None:
    """Mean, variance and lag-3 autocovariance of the last states against closed form."""
    now, before = trace[-1].numpy(), trace[-4].numpy()
    assert abs(now.mean() - mean) < 3 * math.sqrt(variance / COORDINATES)
    assert abs(now.var() - variance) < 3 * variance * math.sqrt(2 / COORDINATES)
    lagged = float(np.mean((now - mean) * (before - mean)))
    error = variance * math.sqrt((1 + correlation**6) / COORDINATES)
    assert abs(lagged - variance * correlation**3) < 3 * error


EULER_RATE = 0.4  # (ε/2) D Λ: a deliberately coarse step


@pytest.mark.parametrize("name", ["sgld", "psgld"])
def test_euler_rules_have_their_known_bias(name: str) -> None:
    """δ' = r δ + …, r = 1 − εDΛ/2; stationary variance 1/(Λ(1 − εDΛ/4)), 25 % above 1/Λ here."""
    step_size = 2 * EULER_RATE / PRECISION
    sampler: Stepper = (
        Sgld(gamma=GAMMA, nbeta=NBETA, step_size=step_size)
        if name == "sgld"
        else Psgld(gamma=GAMMA, nbeta=NBETA, step_size=step_size * BIG, damping=BIG)
    )
    variance = 1 / (PRECISION * (1 - EULER_RATE / 2))
    check(run(sampler, 80), NBETA * CURVATURE * OPTIMUM / PRECISION, variance, 1 - EULER_RATE)


def test_exponential_has_the_closed_form_of_its_recursion() -> None:
    """δ' = r δ + …, r = ρ − (1−ρ) nβ h/γ; variance ((1−ρ²)/γ)/(1−r²), mean as the target's."""
    rate = 0.35
    sampler = Exponential(gamma=GAMMA, nbeta=NBETA, step_size=2 * rate * BIG / GAMMA, damping=BIG)
    rho = math.exp(-rate)
    ratio = rho - (1 - rho) * NBETA * CURVATURE / GAMMA
    variance = (1 - rho**2) / GAMMA / (1 - ratio**2)
    check(run(sampler, 80), NBETA * CURVATURE * OPTIMUM / PRECISION, variance, ratio)


@pytest.mark.parametrize("rate", [0.01, 0.3, 3.0])
def test_exponential_is_unbiased_without_the_loss(rate: float) -> None:
    """At nβ = 0 the stationary variance is 1/γ whatever the step; Euler's would be off by
    1/(1 − rate/2), and would diverge at the largest of these steps."""
    sampler = Exponential(gamma=GAMMA, nbeta=0.0, step_size=2 * rate * BIG / GAMMA, damping=BIG)
    check(run(sampler, int(12 / rate) + 8), 0.0, 1 / GAMMA, math.exp(-rate))


def test_exponential_converges_to_the_target_as_the_step_shrinks() -> None:
    rate = 0.005
    sampler = Exponential(gamma=GAMMA, nbeta=NBETA, step_size=2 * rate * BIG / GAMMA, damping=BIG)
    variance = float(run(sampler, 1200)[-1].var())
    bias = rate * PRECISION / GAMMA / 2  # first order of the Euler part
    assert abs(variance * PRECISION - 1) < 3 * math.sqrt(2 / COORDINATES) + bias


def test_preconditioner_is_rmsprop_from_zero() -> None:
    """V₁ = (1−α) g², V₂ = αV₁ + (1−α) g²; D = 1/(√V + a): read off from noiseless steps."""
    sampler = Psgld(gamma=GAMMA, nbeta=NBETA, step_size=1e-3, damping=0.5, alpha=0.9)
    zero = {"w": torch.zeros(1, dtype=torch.float64)}
    state, expected, moment = sampler.init(zero), 0.0, 0.0
    for gradient in (2.0, -1.0, 0.5):
        moment = 0.9 * moment + 0.1 * gradient**2
        drift = NBETA * gradient + GAMMA * expected
        expected -= 0.5e-3 / (math.sqrt(moment) + 0.5) * drift
        state = sampler.step(state, {"w": torch.tensor([gradient], dtype=torch.float64)}, zero)
        assert state.displacement["w"].item() == pytest.approx(expected, rel=1e-12)


def test_exponential_equals_euler_in_the_limit_of_small_steps() -> None:
    settings = {"gamma": GAMMA, "nbeta": NBETA, "step_size": 1e-9, "damping": 0.1}
    noise = {"w": torch.randn(50, dtype=torch.float64)}
    gradient = {"w": torch.randn(50, dtype=torch.float64)}
    ends = []
    for sampler in (Psgld(**settings), Exponential(**settings)):
        state = sampler.step(sampler.init(noise), gradient, noise)
        ends.append(state.displacement["w"])
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Sgld(gamma=0.0), "gamma must be a finite number > 0"),
        (lambda: Psgld(gamma=float("nan")), "gamma"),
        (lambda: Psgld(step_size=-1.0), "step_size"),
        (lambda: Psgld(nbeta=-1.0), "nbeta must be a finite number ≥ 0"),
        (lambda: Psgld(damping=0.0), "damping"),
        (lambda: Exponential(alpha=1.0), r"alpha must be in \[0, 1\)"),
        (lambda: Psgld(gamma=300.0, step_size=1.0), "diverges"),
        (lambda: Sgld(gamma=300.0, step_size=1.0), "diverges"),
        (lambda: Gaussian(gamma=-3.0), "gamma"),
        (lambda: Reweighted(min_effective_fraction=0.0), "min_effective_fraction"),
        (lambda: Reweighted(min_effective_fraction=1 / 32), "collapsed"),
        (lambda: ChainConfig(num_draws=4.0), "must be a whole number"),
        (lambda: ChainConfig(num_burnin_steps=0).require_burnin(), "growth"),
    ],
)
def test_impossible_settings_are_refused(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("rule", [Sgld(), Psgld(), Exponential()], ids=["sgld", "psgld", "exp"])
def test_slices_of_a_block_change_no_bit(rule: Stepper, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    shape = (7, 43)
    state = rule.init({"w": torch.zeros(shape)})
    gradients, noises = torch.randn(2, 4, *shape)
    found = []
    for size in (10**9, 16, 37):
        monkeypatch.setitem(samplers.SLICE, "cpu", size)
        moved = state
        for gradient, noise in zip(gradients, noises, strict=True):
            moved = rule.step(moved, {"w": gradient}, {"w": noise})
        assert moved.displacement["w"].shape == shape
        found.append(moved)
    for other in found[1:]:
        assert torch.equal(other.displacement["w"], found[0].displacement["w"])
        for block, moment in found[0].second_moment.items():
            assert torch.equal(other.second_moment[block], moment)


def test_a_sample_of_the_vocabulary_has_entries() -> None:
    with pytest.raises(ValueError, match=r"sampler\.vocabulary_sample must be at least 1"):
        Psgld(vocabulary_sample=0)
