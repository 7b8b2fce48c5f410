"""Verdicts on chains whose bias is known: wrong ones are flagged, healthy ones are not.

The bias of every case is measured by a simulation of the tests' own (`known_cases.py`): at least
half a standard deviation of ΔL makes it wrong, at most a tenth healthy.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from spectro.analysis.chain_diagnosis import Diagnosis, diagnose
from spectro.analysis.chain_traces import Settings, traces_of
from spectro.analysis.chain_verdict import Verdict
from spectro.sampling.chain import GroupChains
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.pilot.pilot import run_pilot
from tests.sampling.known_cases import (
    BIASED,
    CORRECTED,
    DESTROYED,
    HEALTHY,
    INFLATED,
    Case,
    simulated_bias,
    simulated_spread,
)

WRONG, RIGHT = 0.5, 0.1
"""Standard deviations of ΔL under the posterior."""
EVERY = BIASED | INFLATED | DESTROYED | HEALTHY | CORRECTED
ONE_OF_EACH = (
    "sgld, step 20 times too large",
    "exponential, quartic loss",
    "linear loss, psgld",
    "half of what was learnt",
    "exponential, κ 0.01, one step a draw",
    "mala, few weights",
    "reweighted, no chain",
)


def judged(case: Case, seed: int) -> Diagnosis:
    """The product's own path: pilot, chains, verdict."""
    model, randomness = case.model, KeyedRandomness(seed=seed)
    pilot = run_pilot(
        model, case.sampler, model.ids, randomness, headroom=case.headroom, config=case.config
    )
    chains = GroupChains(
        part=model, sampler=case.sampler, config=case.config, sampling_ids=model.ids,
        evaluation_ids=model.ids, randomness=randomness, pilot=pilot,
    ).run(range(4))  # fmt: skip
    own = {number: result.components["theta"] for number, result in chains.items()}
    settings = Settings(
        num_draws=case.draws, num_burnin_steps=case.burnin, gamma=case.sampler.gamma,
        nbeta=case.sampler.nbeta, step_size=getattr(case.sampler, "step_size", math.nan),
    )  # fmt: skip
    return diagnose(traces_of("theta", own, pilot["theta"], {"reliability": 0.9}), settings)


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Diagnosis]:
    return {name: judged(case, seed) for seed, (name, case) in enumerate(EVERY.items())}


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_one_case_of_each_kind(name: str) -> None:
    """`make test-all` judges every case."""
    found = judged(EVERY[name], list(EVERY).index(name))
    assert found.verdict.is_good == (name in HEALTHY | CORRECTED), found.findings


@pytest.mark.slow
@pytest.mark.parametrize("name", BIASED)
def test_the_wrong_cases_are_wrong(name: str) -> None:
    assert abs(simulated_bias(name)) >= WRONG


@pytest.mark.slow
@pytest.mark.parametrize("name", INFLATED)
def test_a_mean_that_is_right_hides_a_spread_that_is_not(name: str) -> None:
    assert abs(simulated_bias(name)) < WRONG
    assert simulated_spread(name) > 1.35  # 1/√(1 − εDγ/4): 2 and 1.41


@pytest.mark.slow
@pytest.mark.parametrize("name", HEALTHY)
def test_the_healthy_cases_are_healthy(name: str) -> None:
    assert abs(simulated_bias(name)) <= RIGHT
    assert abs(simulated_spread(name) - 1) <= 0.1


@pytest.mark.slow
def test_wrong_cases_are_flagged(verdicts: dict[str, Diagnosis]) -> None:
    wrong = BIASED | INFLATED | DESTROYED
    missed = [name for name in wrong if verdicts[name].verdict.is_good]
    assert len(missed) <= 0.05 * len(wrong), missed


@pytest.mark.slow
def test_healthy_cases_are_not(verdicts: dict[str, Diagnosis]) -> None:
    right = HEALTHY | CORRECTED
    flagged = {
        name: verdicts[name].findings[0] for name in right if not verdicts[name].verdict.is_good
    }
    assert len(flagged) <= 0.05 * len(right), flagged


@pytest.mark.slow
def test_destroyed_models_are_named_with_a_gamma(verdicts: dict[str, Diagnosis]) -> None:
    for name in DESTROYED:
        whole = name == "half of what was learnt"
        assert verdicts[name].verdict is (Verdict.DAMAGED if whole else Verdict.DESTROYED)
        assert "raise sampler.gamma (100, to about" in verdicts[name].change


@pytest.mark.slow
def test_the_bias_that_is_stated_is_the_true_one(verdicts: dict[str, Diagnosis]) -> None:
    """Stated less true, in stated errors: within 4 in every case, and not far too cautious."""
    errors = []
    for name, case in (BIASED | HEALTHY).items():
        bias = verdicts[name].traces.bias
        if bias is not None:
            _, deviation = case.model.exact(case.sampler.gamma, case.sampler.nbeta)
            errors.append((bias.nats - deviation * simulated_bias(name)) / bias.error_nats)
    assert len(errors) >= 0.7 * len(BIASED | HEALTHY)  # of others too few draws are affordable
    assert np.abs(errors).max() < 4
    assert 0.4 < np.std(errors) < 1.5
