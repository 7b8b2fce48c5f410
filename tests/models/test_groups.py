"""Prefix + sum + component against the model's own forward, every kind, every architecture."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPTNeoXForCausalLM

from spectro.models.components import FULL, Component, Group, all_components, group_components
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.groups import group_model

VARIANTS = {
    "parallel": {},
    "sequential": {"use_parallel_residual": False},
    "no_attention_bias": {"attention_bias": False},
    "full_rotary": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0}
    },
    "one_layer_one_head": {"num_hidden_layers": 1, "num_attention_heads": 1},
    "relu": {"hidden_act": "relu"},
}


def plain_losses(model: GPTNeoXForCausalLM, ids: Tensor) -> Tensor:
    """Loss per token by the model's own forward and torch's own cross-entropy."""
    logits = model(ids[:, :-1]).logits
    flat = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return flat.view(len(ids), -1)


def displaced(
    model: GPTNeoXForCausalLM, component: Component, delta: dict[str, Tensor]
) -> GPTNeoXForCausalLM:
    """A copy of the model with one component's own parameters moved, by explicit indexing."""
    model = copy.deepcopy(model)
    if component.name == "full":
        for name, parameter in model.named_parameters():
            parameter.data += delta[name]
    elif component.name == "embed":
        model.gpt_neox.embed_in.weight.data += delta["weight"]
    elif component.name == "unembed":
        model.get_output_embeddings().weight.data += delta["weight"]
    elif component.head is None:
        mlp = model.gpt_neox.layers[component.layer].mlp
        mlp.dense_h_to_4h.weight.data += delta["up_weight"]
        mlp.dense_h_to_4h.bias.data += delta["up_bias"]
        mlp.dense_4h_to_h.weight.data += delta["down_weight"]
        mlp.dense_4h_to_h.bias.data += delta["down_bias"]
    else:
        attention = model.gpt_neox.layers[component.layer].attention
        size, head = attention.head_size, component.head
        for row in range(3 * size):
            attention.query_key_value.weight.data[3 * size * head + row] += delta["qkv_weight"][row]
            if attention.query_key_value.bias is not None:
                attention.query_key_value.bias.data[3 * size * head + row] += delta["qkv_bias"][row]
        for column in range(size):
            attention.dense.weight.data[:, size * head + column] += delta["dense_weight"][:, column]
    return model


def every_group(model: GPTNeoX) -> list[Group]:
    components = all_components(model.shape.num_layers, model.shape.num_heads)
    return [*group_components(components), Group(name="full", components=(FULL,))]


@pytest.mark.parametrize("variant", VARIANTS)
def test_displaced_component_equals_the_plain_forward(make_model, variant: str) -> None:
    hf = make_model(**VARIANTS[variant])
    model = GPTNeoX.from_pretrained_model(hf)
    ids = torch.randint(0, 61, (3, 18))
    for group in every_group(model):
        part = group_model(model, group)
        deltas = {
            c.name: {b: 0.1 * torch.randn(2, *t.shape) for b, t in part.weights(c.name).items()}
            for c in group.components
        }
        weights = {
            name: {b: part.weights(name)[b] + d for b, d in blocks.items()}
            for name, blocks in deltas.items()
        }
        clean = part.prepare(ids)
        assert part.clean_losses(clean).sub(plain_losses(hf, ids)).abs().max() < 1e-5
        losses = part.losses(clean, weights)
        assert list(losses) == [c.name for c in group.components]
        for component in group.components:
            for variant_index in range(2):
                delta = {b: d[variant_index] for b, d in deltas[component.name].items()}
                expected = plain_losses(displaced(hf, component, delta), ids)
                found = losses[component.name][variant_index]
                assert (found - plain_losses(hf, ids)).abs().max() > 1e-3, component.name
                assert (found - expected).abs().max() < 1e-5, component.name


@pytest.mark.parametrize("variant", ["parallel", "sequential", "no_attention_bias"])
def test_component_gradients_equal_autograd_of_the_whole_model(make_model, variant: str) -> None:
    hf = make_model(**VARIANTS[variant]).double()
    model = GPTNeoX.from_pretrained_model(hf)
    ids = torch.randint(0, 61, (2, 12))
    for group in every_group(model):
        part = group_model(model, group)
        stacked = {
            c.name: {b: t.clone()[None].requires_grad_() for b, t in part.weights(c.name).items()}
            for c in group.components
        }
        losses = part.losses(part.prepare(ids), stacked)
        torch.stack([loss.mean() for loss in losses.values()]).sum().backward()
        zero = {
            c.name: {b: torch.zeros_like(t) for b, t in part.weights(c.name).items()}
            for c in group.components
        }
        for component in group.components:
            for block in zero[component.name]:
                expected = _whole_model_gradient(hf, component, zero[component.name], block, ids)
                found = stacked[component.name][block].grad[0]
                torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def _whole_model_gradient(
    hf, component: Component, zero: dict[str, Tensor], block: str, ids: Tensor
) -> Tensor:
    """Gradient of the mean loss in one block: the whole model's own .grad, cut by the same map of
    component to parameters that the displaced-forward test has checked."""
    model = copy.deepcopy(hf).requires_grad_(True)
    plain_losses(model, ids).mean().backward()
    as_gradients = copy.deepcopy(model)
    for target, source in zip(as_gradients.parameters(), model.parameters(), strict=True):
        target.data = source.grad if source.grad is not None else torch.zeros_like(source)
    wrapped = GPTNeoX.from_pretrained_model(as_gradients)
    group = Group(name=component.group, components=(component,))
    return group_model(wrapped, group).weights(component.name)[block]


def test_tied_embeddings_are_one_component(make_model) -> None:
    model = GPTNeoX.from_pretrained_model(make_model(tie_word_embeddings=True))
    assert model.stages_of(model.unembed_name) == {0, model.num_stages - 1}
    with pytest.raises(ValueError, match="'unembed' selects nothing: this model has l0h0"):
        model.shape.select(["unembed"])
