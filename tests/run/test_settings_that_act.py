"""A run's fingerprint holds what acts: settings without effect are refused or left out of it."""

from __future__ import annotations

import dataclasses

import pytest

from spectro.run.config import chain_inputs
from spectro.sampling.samplers import Gaussian
from spectro.susceptibility.estimator import Baseline, EstimatorConfig
from tests.conftest import CHAIN, MakeConfig

STEPPING = {
    "steps_between_draws": 7, "num_burnin_steps": 5, "draw_dtype": "bfloat16", "batch_size": 3,
}  # fmt: skip


@pytest.mark.parametrize("name", list(STEPPING))
def test_settings_of_steps_are_no_inputs_of_exact_draws(make_config: MakeConfig, name: str) -> None:
    """They would be two names for the same bits (tests/sampling: such draws have keys alone)."""
    other = dataclasses.replace(CHAIN, **{name: STEPPING[name]})
    exact = [make_config(sampler=Gaussian(), chain=chain) for chain in (CHAIN, other)]
    assert exact[0].inputs() == exact[1].inputs()
    stepped = [make_config(chain=chain) for chain in (CHAIN, other)]
    assert stepped[0].inputs() != stepped[1].inputs()
    controls = [config.as_control().inputs() for config in stepped]
    assert chain_inputs(controls[0]) == chain_inputs(controls[1])


def test_the_unpaired_baseline_takes_batches_of_its_size(make_config: MakeConfig) -> None:
    unpaired = EstimatorConfig(baseline=Baseline.UNPAIRED)
    other = dataclasses.replace(CHAIN, batch_size=3)
    found = [
        make_config(sampler=Gaussian(), chain=chain, estimator=unpaired).inputs()
        for chain in (CHAIN, other)
    ]
    assert found[0] != found[1]


def test_the_number_of_draws_is_always_an_input(make_config: MakeConfig) -> None:
    more = dataclasses.replace(CHAIN, num_draws=4)
    found = [make_config(sampler=Gaussian(), chain=chain).inputs() for chain in (CHAIN, more)]
    assert found[0] != found[1]


def test_names_of_components_are_recorded_as_they_are_compared(make_config: MakeConfig) -> None:
    found = [make_config(components=names).inputs() for names in (["l0h1"], [" L0 h1"])]
    assert found[0] == found[1]
