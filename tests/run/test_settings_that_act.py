"""A run's fingerprint holds what acts: settings without effect are refused or left out of it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

import spectro
from spectro.config import chain_inputs
from spectro.sampling.mala import Mala
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Gaussian
from spectro.susceptibility.estimator import Baseline, EstimatorConfig, EstimatorKind
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


METROPOLIS = [Mala(), Reweighted(min_effective_fraction=1.0)]


@pytest.mark.parametrize("sampler", METROPOLIS, ids=["mala", "reweighted"])
def test_minibatches_are_no_inputs_of_metropolis_chains(
    make_config: MakeConfig, sampler: Mala
) -> None:
    """Their steps see the evaluation set: such a size may even be above the sampling set's 8."""
    sizes = [dataclasses.replace(CHAIN, batch_size=size) for size in (2, 3, 9)]
    found = [make_config(sampler=sampler, chain=chain) for chain in sizes]
    assert found[0].inputs() == found[1].inputs() == found[2].inputs()
    assert found[0].own_name() == found[1].own_name()
    assert set(found[0].without_effect()) == {"chain.batch_size"}
    steps = dataclasses.replace(CHAIN, num_burnin_steps=5)
    assert make_config(sampler=sampler, chain=steps).inputs() != found[0].inputs()
    unpaired = {"sampler": sampler, "estimator": EstimatorConfig(baseline=Baseline.UNPAIRED)}
    batches = [make_config(chain=chain, **unpaired).inputs() for chain in sizes[:2]]
    assert batches[0] != batches[1]
    with pytest.raises(ValueError, match="batch_size is 9, but the sampling set has 8 sequences"):
        make_config(chain=sizes[2], **unpaired)


@pytest.mark.parametrize("sampler", METROPOLIS, ids=["mala", "reweighted"])
def test_the_size_of_minibatches_changes_no_bit_of_metropolis_chains(sampler: Mala) -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = GPTNeoXConfig(vocab_size=11, intermediate_size=8, max_position_embeddings=8, **shape)
    model = GPTNeoXForCausalLM(config).eval()
    ids = torch.arange(24).reshape(4, 6) % 11
    sampler = dataclasses.replace(sampler, gamma=100.0, nbeta=30.0)
    settings = {"num_chains": 2, "num_draws": 2, "num_burnin_steps": 2, "components": ["l0mlp"]}
    settings["estimator"] = EstimatorConfig(kind=EstimatorKind.RESTRICTED)
    found = [
        spectro.susceptibilities(model, ids, ids, sampler=sampler, batch_size=size, **settings)
        for size in (1, 4, 99)
    ]
    assert found[0].chi.tobytes() == found[1].chi.tobytes() == found[2].chi.tobytes()
    assert found[0].chi.any()


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
