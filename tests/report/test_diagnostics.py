"""Verdicts on made traces: each kind is seen, and good chains are not accused."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter

import numpy as np
import pytest

from spectro.analysis.chain_diagnosis import diagnose
from spectro.analysis.chain_traces import (
    ComponentTraces,
    Settings,
    autocorrelation,
    cautious_time,
    correlation_time,
    disagreement,
    mean_in_errors,
    more_data,
)
from spectro.analysis.chain_verdict import Verdict
from spectro.sampling.effective_sample_size import ess_of_trace
from spectro.sampling.pilot.sampler_bias import SamplerBias
from spectro.susceptibility.reliability import spearman_brown, splits
from spectro.views.page.diagnostics_page import as_dict, cells

SETTINGS = Settings(num_draws=60, num_burnin_steps=8, gamma=300.0, nbeta=10.0, step_size=1e-3)
SEEDS = range(40)


def course(rng: np.random.Generator, chains: int, draws: int, rho: float = 0.3) -> np.ndarray:
    """Stationary AR(1) of unit variance, [C, T]."""
    x, noise = np.empty((chains, draws)), rng.normal(size=(chains, draws))
    x[:, 0] = noise[:, 0]
    for t in range(1, draws):
        x[:, t] = rho * x[:, t - 1] + math.sqrt(1 - rho**2) * noise[:, t]
    return x


def skewed(rng: np.random.Generator, chains: int, draws: int) -> np.ndarray:
    return (rng.gamma(2.0, size=(chains, draws)) - 2) / math.sqrt(2)


def bias_of(nats: float, error: float) -> SamplerBias:
    return SamplerBias(nats=nats, error_nats=error, posterior_deviation=1.0, source="weights")


def traces(x: np.ndarray, **fields: object) -> ComponentTraces:
    stepped = not fields.get("independent") and bool(np.isfinite(x).all())
    known = {
        "name": "l0h0", "independent": False, "chains": tuple(range(len(x))),
        "delta_loss": tuple(x), "weight": tuple(np.ones_like(row) for row in x),
        "effective_sample_size": sum(map(ess_of_trace, x))
        if stepped
        else float(x.size),
        "steps_between_draws": 5, "reliability": 0.8, "bias": bias_of(0.0, 0.1),
    }  # fmt: skip
    return ComponentTraces(**(known | fields))


def verdicts(make: object, **fields: object) -> Counter[Verdict]:
    found = [
        diagnose(traces(make(np.random.default_rng(seed)), **fields), SETTINGS) for seed in SEEDS
    ]
    return Counter(each.verdict for each in found)


@pytest.mark.parametrize(("chains", "draws"), [(1, 100), (2, 25), (4, 8), (4, 60)])
@pytest.mark.parametrize("kind", ["independent", "correlated", "skewed"])
def test_good_chains_are_not_accused(chains: int, draws: int, kind: str) -> None:
    """A run of 410 components would have a handful of false alarms at 1 in 100: of 120 at most 2.

    By the thresholds it is far less; 2 of 120 would come up with probability 0.1 at 1 in 200.
    """
    make = {
        "independent": lambda rng: course(rng, chains, draws, 0.0),
        "correlated": lambda rng: course(rng, chains, draws, 0.3),
        "skewed": lambda rng: skewed(rng, chains, draws),
    }[kind]
    found = Counter(
        diagnose(traces(5 + 0.3 * make(np.random.default_rng([seed, 7]))), SETTINGS).verdict
        for seed in range(120)
    )
    assert found[Verdict.LEVELS] >= 118, found


def spiked(rng: np.random.Generator) -> np.ndarray:
    x = 5 + 0.3 * course(rng, 4, 60)
    x[2, 30] += 9
    return x


def with_nan(rng: np.random.Generator) -> np.ndarray:
    x = course(rng, 4, 60)
    x[1, 7] = np.nan
    return x


def burnt_late(rng: np.random.Generator) -> np.ndarray:
    return 5 + 0.3 * course(rng, 4, 60) - 3 * np.exp(-np.arange(60) / 4)


BAD = {
    Verdict.NOT_FINITE: (with_nan, "sampler.step_size (0.001)"),
    Verdict.STUCK: (lambda rng: np.full((4, 60), 0.3), "raise sampler.step_size (0.001)"),
    Verdict.SPIKES: (spiked, "lower sampler.step_size (0.001)"),
    Verdict.DISAGREE: (
        lambda rng: 5 + 0.3 * course(rng, 4, 60) + np.array([[0.0], [1.0], [0.0], [-1.0]]),
        "chain.num_burnin_steps (8)",
    ),
    Verdict.DRIFTS: (
        lambda rng: 5 + 0.3 * course(rng, 4, 60) + np.linspace(0, 1.8, 60),
        "raise sampler.gamma (300)",
    ),
    Verdict.FALLS: (lambda rng: -1 + 0.3 * course(rng, 4, 60), "raise sampler.gamma (300)"),
    Verdict.REMEMBERS: (
        lambda rng: 5 + 0.3 * course(rng, 4, 400, 0.95),
        "raise chain.steps_between_draws (5",
    ),
    Verdict.TOO_SHORT: (lambda rng: 5 + course(rng, 4, 7), "raise chain.num_draws (60"),
    Verdict.LITTLE_SIGNAL: (lambda rng: 0.3 * course(rng, 4, 60, 0.0), "lower sampler.gamma (300)"),
}


@pytest.mark.parametrize("verdict", BAD)
def test_each_kind_is_seen(verdict: Verdict) -> None:
    make, change = BAD[verdict]
    found = verdicts(make)
    assert found[verdict] >= 0.95 * len(SEEDS), found
    if verdict is Verdict.LITTLE_SIGNAL:  # chains whose mean is beyond three errors all the same
        return
    result = diagnose(traces(make(np.random.default_rng(0))), SETTINGS)
    assert change in result.change and result.findings[0].evidence


def test_a_start_that_is_too_early_asks_for_burnin() -> None:
    assert verdicts(burnt_late)[Verdict.DRIFTS] == len(SEEDS)
    result = diagnose(traces(burnt_late(np.random.default_rng(0))), SETTINGS)
    assert result.change == "raise chain.num_burnin_steps (8)"


def test_few_draws_that_wander_are_not_called_level() -> None:
    """Random walks from one point: of eight or sixteen draws, most; of sixty, all."""
    for draws, most in ((8, 0.5), (16, 0.5), (60, 0.0)):
        found = verdicts(lambda rng, draws=draws: 5 + rng.normal(size=(4, draws)).cumsum(axis=1))
        assert found[Verdict.LEVELS] <= most * len(SEEDS), found


def test_reliability_and_what_it_takes() -> None:
    """Half of the draws at 0.2: the whole column is at 1/3, and 0.8 takes eight times as much."""
    result = diagnose(
        traces(5 + course(np.random.default_rng(0), 4, 60), reliability=0.2), SETTINGS
    )
    assert result.verdict is Verdict.LITTLE_SIGNAL and "0.33" in result.findings[0].evidence
    assert "to about 480 for 0.8" in result.change
    for r in (-0.1, -1.0, -2.0, 0.0):
        hopeless = traces(5 + course(np.random.default_rng(0), 4, 60), centred_reliability=r)
        result = diagnose(hopeless, SETTINGS)
        assert (
            result.verdict is Verdict.LITTLE_SIGNAL
            and f"(r {r:.2f})" in result.findings[0].evidence
        )
        assert "lower sampler.gamma" in result.change and cells(result)[7] == "≤ 0"


@pytest.mark.parametrize("num_chains", [2, 3, 4, 5])
@pytest.mark.parametrize("r", [-3.2, -1.0, -1 / 3, -1 / 7, -1e-9, 0.0, 1e-9, 0.3, 1.0, 1 + 1e-12])
def test_a_prediction_is_a_reliability_or_not_known(num_chains: int, r: float) -> None:
    """The formula has a pole at r = −1/(m − 1), and says 3.2 or −12 beside it."""
    x = 5 + course(np.random.default_rng(0), num_chains, 60)
    result = as_dict(diagnose(traces(x, reliability=r, centred_reliability=r), SETTINGS))
    predicted = result["reliability"]["predicted"]
    for value in [each[key] for each in predicted for key in ("reliability", "centred")]:
        assert (value is None) == (r <= 0)
        assert value is None or 0 <= value <= 1


@pytest.mark.parametrize("num_chains", [2, 3, 4, 5, 7])
def test_halves_of_an_odd_number_of_chains(num_chains: int) -> None:
    """Columns of signal 1 and noise 1/draws: what is predicted of all draws is what all have."""
    first, _ = splits(num_chains)[0]
    share = len(first) / num_chains
    made = traces(5 + course(np.random.default_rng(0), num_chains, 60))
    num = made.num_draws
    made = dataclasses.replace(made, reliability=1 / (1 + 100 / (share * num)))
    assert made.half_share == pytest.approx(share)
    assert made.whole_reliability == pytest.approx(1 / (1 + 100 / num))
    result = as_dict(diagnose(made, SETTINGS))["reliability"]
    assert result["measured"][0]["draws"] == pytest.approx(share * num)
    for each in result["predicted"]:
        assert each["reliability"] == pytest.approx(1 / (1 + 100 / each["draws"]))


def test_a_dead_head_is_left_out_not_stepped_further() -> None:
    still = traces(np.zeros((4, 60)), independent=True, effective_sample_size=240.0)
    control = dataclasses.replace(SETTINGS, step_size=math.nan)
    result = diagnose(still, control)
    assert result.verdict is Verdict.STUCK and "leave it out" in result.change
    assert "step_size" not in result.change and "nan" not in result.change


def test_what_draws_are_worth_is_said_once() -> None:
    """Evidence, table and the error of the mean have the same effective draws."""
    x = 5 + 0.3 * course(np.random.default_rng(0), 4, 400, 0.95)
    made = traces(x)
    result = diagnose(made, SETTINGS)
    (found,) = [each for each in result.findings if each.verdict is Verdict.REMEMBERS]
    assert found.evidence == f"1600 draws are worth {cells(result)[4]}"
    expected = x.mean() / math.sqrt(x.var() / made.effective_sample_size)
    assert mean_in_errors(made) == pytest.approx(expected)
    alone = traces(x, independent=True, effective_sample_size=1600.0)
    assert alone.correlation_time == 1.0
    assert mean_in_errors(alone) == pytest.approx(x.mean() / math.sqrt(x.var() / 1600))


def test_findings_are_in_the_order_of_verdicts() -> None:
    both = diagnose(traces(5 + course(np.random.default_rng(0), 4, 7), reliability=0.1), SETTINGS)
    assert [each.verdict for each in both.findings] == [Verdict.TOO_SHORT, Verdict.LITTLE_SIGNAL]


def test_a_bias_of_the_chain() -> None:
    x = 5 + course(np.random.default_rng(0), 4, 60)
    for nats, error, verdict in (
        (0.5, 0.1, Verdict.BIASED), (-0.5, 0.1, Verdict.BIASED),
        (0.05, 0.01, Verdict.LEVELS),  # certain, and too small to matter
        (0.5, 0.19, Verdict.LEVELS),  # not certain
        (0.5, 0.8, Verdict.BIAS_UNKNOWN),  # and could not be seen
    ):  # fmt: skip
        bias = bias_of(nats, error)
        assert diagnose(traces(x, bias=bias), SETTINGS).verdict is verdict
    unknown = diagnose(traces(x, bias=None), SETTINGS)
    assert unknown.verdict is Verdict.BIAS_UNKNOWN and "sampler=mala" in unknown.change
    assert diagnose(traces(x, bias=None, corrected=True), SETTINGS).verdict is Verdict.LEVELS


def test_independent_draws_have_no_course() -> None:
    rng = np.random.default_rng(0)
    slanted = 5 + course(rng, 4, 60) + np.linspace(0, 9, 60)
    good = diagnose(traces(slanted, independent=True), SETTINGS)
    assert good.verdict is Verdict.INDEPENDENT and not len(good.autocorrelation)
    few = diagnose(traces(slanted, independent=True, effective_sample_size=3.0), SETTINGS)
    assert few.verdict is Verdict.COLLAPSED and "min_effective_fraction" in few.change
    short = diagnose(traces(slanted[:, :2], independent=True), SETTINGS)
    assert short.verdict is Verdict.INDEPENDENT


def test_one_chain_and_one_draw() -> None:
    alone = diagnose(traces(5 + course(np.random.default_rng(0), 1, 60)), SETTINGS)
    assert alone.verdict is Verdict.LEVELS and math.isnan(alone.rhat)
    single = diagnose(traces(np.array([[5.0]])), SETTINGS)
    assert single.verdict is Verdict.TOO_SHORT
    assert json.loads(json.dumps(as_dict(single), allow_nan=False))["rhat"] is None


def test_statistics_against_what_is_known() -> None:
    """AR(1): ρ_k = ρ^k and τ = (1 + ρ)/(1 − ρ); p of chains of one law is uniform.

    Errors of ρ_k of 4 × 20000 draws are below 0.01; of 200 p, 5 % below 0.05 is 10 ± 3.1.
    """
    long = course(np.random.default_rng(1), 4, 20000, 0.5)
    np.testing.assert_allclose(autocorrelation(long, 4), 0.5 ** np.arange(5), atol=0.02)
    assert correlation_time(long) == pytest.approx(3.0, rel=0.1)
    assert cautious_time(long) == pytest.approx(3.0, rel=0.1)
    p = [disagreement(course(np.random.default_rng(seed), 4, 60, 0.0)) for seed in range(200)]
    assert sum(value < 0.05 for value in p) <= 20
    assert spearman_brown(0.2, more_data(0.2, 0.8)) == pytest.approx(0.8)
    assert more_data(-0.1, 0.8) == math.inf
