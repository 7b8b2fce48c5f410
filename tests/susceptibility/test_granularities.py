"""Components of several granularities in one measurement, `full` among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import spectro

SETTINGS: dict[str, Any] = {
    "sampler": spectro.Psgld(gamma=100.0, nbeta=10.0, step_size=1e-4), "num_chains": 2,
    "num_draws": 4, "num_burnin_steps": 2, "steps_between_draws": 2, "batch_size": 3, "seed": 1,
}  # fmt: skip
MIXED = ["l0attn", "l1h1.*", "l1h1", "l0mlp.gate", "l1layer", "final_norm", "full"]


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=31, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, intermediate_size=24, max_position_embeddings=16,
        initializer_range=0.3,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def measure(model: LlamaForCausalLM, components: list[str], kind: str) -> spectro.Result:
    stream = torch.Generator().manual_seed(0)
    ids = [torch.randint(0, 31, (n, 10), generator=stream) for n in (8, 5)]
    estimator = spectro.EstimatorConfig(kind=spectro.EstimatorKind(kind))
    return spectro.susceptibilities(
        model, *ids, components=components, estimator=estimator, **SETTINGS
    )


@pytest.fixture(scope="module")
def mixed(model: LlamaForCausalLM) -> spectro.Result:
    return measure(model, MIXED, "two_chain")


def test_each_has_a_column_and_the_overlap_is_said_once(mixed: spectro.Result) -> None:
    assert mixed.components == (
        "l0attn", "l1h1.q", "l1h1.o", "l1h1", "l0mlp.gate", "l1layer", "final_norm", "full",
    )  # fmt: skip
    assert (mixed.chi.std(axis=(0, 1)) > 0).all()
    (said,) = [line for line in mixed.summary["warnings"] if "overlap" in line]
    assert said.startswith("components overlap: l0attn and full, l1h1.q and l1h1, l1h1.q and")


def test_full_is_the_reference_of_two_chain_and_computed_once(
    model: LlamaForCausalLM, mixed: spectro.Result
) -> None:
    """Its column's coefficient is the whole model's; its χ is a covariance along its own chain."""
    alone = measure(model, ["l1h1"], "two_chain")
    assert mixed.summary["llc"][-1] == mixed.summary["full_llc"] == alone.summary["full_llc"]
    np.testing.assert_array_equal(mixed.full_response, alone.full_response)
    covariance = measure(model, ["full"], "one_chain")
    np.testing.assert_array_equal(mixed.chi[..., -1:], covariance.chi)
    assert covariance.summary["full_llc"] == alone.summary["full_llc"]


def test_a_column_does_not_depend_on_the_others(
    model: LlamaForCausalLM, mixed: spectro.Result
) -> None:
    """But for the last bits: variants of a layer share one batch."""
    for place, name in enumerate(mixed.components):
        alone = measure(model, [name], "two_chain")
        np.testing.assert_allclose(
            alone.chi[..., 0], mixed.chi[..., place], atol=1e-5 * np.abs(alone.chi).max()
        )
        np.testing.assert_allclose(alone.llc, mixed.llc[place], rtol=1e-5)
