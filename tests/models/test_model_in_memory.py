"""Models that are given as objects: those that compute something else than GPT-NeoX are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import GPTNeoXForCausalLM

from spectro.models.families.gpt_neox import GPTNeoX
from tests.models.conftest import MakeModel

IDS = torch.arange(120).reshape(3, 40) % 61


def test_a_model_with_added_parameters_is_refused(make_model: MakeModel) -> None:
    """An adapter that is injected into the modules acts in their forward alone."""
    model = make_model()
    dense = model.gpt_neox.layers[1].attention.dense
    dense.register_parameter("lora_A", torch.nn.Parameter(torch.zeros(2, 2)))
    with pytest.raises(ValueError, match=r"1, such as gpt_neox\.layers\.1\.attention\.dense\.lora"):
        GPTNeoX.from_pretrained_model(model)


def _another_activation(model: GPTNeoXForCausalLM) -> None:
    model.gpt_neox.layers[0].mlp.act = torch.nn.ReLU()


def _another_layer(model: GPTNeoXForCausalLM) -> None:
    layers = model.gpt_neox.layers
    layers[1].mlp = torch.nn.Sequential(layers[1].mlp)


def _a_hook(model: GPTNeoXForCausalLM) -> None:
    model.gpt_neox.layers[2].register_forward_hook(lambda module, args, output: output)


def _a_pre_hook(model: GPTNeoXForCausalLM) -> None:
    model.gpt_neox.embed_in.register_forward_pre_hook(lambda module, args: None)


def _a_patched_forward(model: GPTNeoXForCausalLM) -> None:
    mlp = model.gpt_neox.layers[0].mlp
    plain = mlp.forward
    mlp.forward = lambda states: 1.01 * plain(states)


def _another_flag(model: GPTNeoXForCausalLM) -> None:
    model.config.use_parallel_residual = False


def _another_epsilon(model: GPTNeoXForCausalLM) -> None:
    model.config.layer_norm_eps = 0.1


def _another_config(model: GPTNeoXForCausalLM) -> None:
    model.config.hidden_act = "relu"


def _not_a_number(model: GPTNeoXForCausalLM) -> None:
    model.gpt_neox.layers[1].attention.dense.weight[3, 4] = torch.nan


def _infinite(model: GPTNeoXForCausalLM) -> None:
    model.lm_head.weight[0, :2] = torch.tensor([torch.inf, -torch.inf])


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_another_activation, "has a ReLU as gpt_neox.layers.0.mlp.act, expected GELUActivation"),
        (_another_layer, "parameters"),
        (_a_hook, "a forward hook on gpt_neox.layers.2 .*_a_hook"),
        (_a_pre_hook, "a forward hook on gpt_neox.embed_in .*_a_pre_hook"),
        (_a_patched_forward, "computes something else .*a forward patched"),
        (_another_flag, "computes something else .*the config changed after loading"),
        (_another_epsilon, "computes something else .*the config changed after loading"),
        (_another_config, "has a GELUActivation as .*expected ReLU.*the config changed"),
        (_not_a_number, "weight gpt_neox.layers.1.attention.dense.weight has .* not finite"),
        (_infinite, "weight lm_head.weight has values that are not finite"),
    ],
)
def test_a_model_that_computes_something_else_is_refused(
    make_model: MakeModel,
    change: Callable[[GPTNeoXForCausalLM], None],
    message: str,
    double: bool,
) -> None:
    model = make_model()
    model = model.double() if double else model
    change(model)
    with pytest.raises(ValueError, match=message) as error:
        GPTNeoX.from_pretrained_model(model)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("double", [False, True])
def test_a_plain_model_is_taken_whatever_was_done_with_it(
    make_model: MakeModel, attention: str, double: bool
) -> None:
    """In training with dropout, after hidden states were asked for, within autocast."""
    model = make_model(hidden_dropout=0.5, attention_dropout=0.5)
    model = model.double() if double else model
    model.set_attn_implementation(attention)
    model(IDS, output_hidden_states=True)
    expected = GPTNeoX.from_pretrained_model(model).clean_losses(IDS)
    model.train()
    model.gpt_neox.layers[1].eval()
    before = [module.training for module in model.modules()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = GPTNeoX.from_pretrained_model(model)
    assert torch.equal(found.clean_losses(IDS), expected)
    assert [module.training for module in model.modules()] == before
