"""Peaks counted on the meta device against the allocator's real ones: never below, hardly above."""

from __future__ import annotations

import dataclasses
from typing import Any
from unittest import mock

import pytest
import torch
from peak import peak_bytes
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from spectro.models.components import Component, Group, all_components, group_components
from spectro.models.config import Precision, ScoringConfig
from spectro.models.cost.budget import RowBudget, draws_at_once
from spectro.models.cost.memory import (
    resident_bytes,
    scoring_bytes_per_row,
    stepping_bytes_per_row,
)
from spectro.models.delta import DrawSlice, pack_losses
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.models.scoring import Scoring
from spectro.models.size import ModelSize
from spectro.models.variant_losses import fit_top_k
from spectro.planning import call_memory
from spectro.planning.call_memory import CallShape, scoring_bytes, state_bytes, step_bytes
from spectro.sampling.advance import advance, start
from spectro.sampling.draws import gaussian_draws
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.mala import Mala
from spectro.sampling.samplers import Exponential, Gaussian, Psgld, Sgld

SHAPES: dict[str, dict[str, Any]] = {
    "parallel": {},
    "sequential": {"use_parallel_residual": False},
    "vocabulary": {"vocab_size": 5000, "num_hidden_layers": 2},
    "many_heads": {"num_attention_heads": 16, "hidden_size": 128, "intermediate_size": 512},
    "deep_and_wide": {"num_hidden_layers": 8, "intermediate_size": 512},
}
NUM_POS = 96
ABOVE = 1.5
"""The real calls are counted, so that what differs is how kernels work inside."""
WORKSPACE = 2**19
"""Bytes that kernels take for themselves (blocks of products and of attention), at most."""
RANDOMNESS = KeyedRandomness(seed=0)


def made(name: str, precision: Precision = Precision.FLOAT32) -> GPTNeoX:
    settings = {
        "vocab_size": 101,
        "hidden_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 256,
        "max_position_embeddings": 256,
        **SHAPES[name],
    }
    torch.manual_seed(0)
    hf = GPTNeoXForCausalLM(GPTNeoXConfig(**settings, tie_word_embeddings=False))
    model = GPTNeoX.from_pretrained_model(hf.eval().requires_grad_(False), precision)
    for parameter in model.params:  # resident copies are made before
        model.operand(parameter)
    return model


def call_of(model: GPTNeoX, rows: int) -> CallShape:
    return CallShape(
        size=model.shape,
        precision=model.precision.value,
        device_type="cpu",
        context=NUM_POS,
        rows=rows,
    )


def some_groups(size: ModelSize) -> list[Group]:
    layers = {"l0", f"l{size.num_layers // 2}"}
    groups = group_components(all_components(size.num_layers, size.num_heads))
    others = size.groups(["l0attn", "l0layer", "l0norm1", "l0h0.q", "final_norm"], with_full=True)
    return [*(g for g in groups if g.name in layers | {"embed", "unembed"}), *others]


def ids_of(size: ModelSize, num_seq: int) -> torch.Tensor:
    return torch.randint(0, size.vocab_size, (num_seq, NUM_POS + 1))


def require_near(counted: int, real: int, what: object) -> None:
    assert real <= counted + WORKSPACE, (what, real, counted)
    assert counted <= ABOVE * real, (what, real, counted)


def real_scoring(
    model: GPTNeoX, component: Component, num_seq: int, rows: int, list_size: int
) -> int:
    part = group_model(model, Group(name=component.group, components=(component,)))
    ids, weights = ids_of(model.shape, num_seq), part.weights(component.name)
    source = gaussian_draws({component.name: weights}, Gaussian(), 0, RANDOMNESS)
    draw_bytes = 4 * model.shape.weights_of(component)
    together = draws_at_once(rows, num_seq * NUM_POS, draw_bytes)
    fit = fit_top_k(model, ScoringConfig(shortlist_size=list_size), ids) if list_size else None
    if fit is not None:
        fit = dataclasses.replace(fit, components=frozenset(part.names))
    scoring = Scoring(budget=RowBudget(rows=rows), top_k=fit)
    wanted = [DrawSlice(0, component.name, slice(0, 2 * together))]

    def score() -> None:
        for _ in pack_losses(part, ids, {0: source}, wanted, scoring):
            pass

    return peak_bytes(score)


@pytest.mark.parametrize(
    ("shape", "num_seq", "num_variants"),
    [
        ("parallel", 4, 1),
        ("sequential", 2, 6),
        ("vocabulary", 1, 24),
        ("many_heads", 2, 6),
        ("deep_and_wide", 4, 1),
    ],
)
def test_scoring_takes_what_is_counted(shape: str, num_seq: int, num_variants: int) -> None:
    model = made(shape)
    rows = num_seq * NUM_POS * num_variants
    for group in some_groups(model.shape):
        for component in {group.components[0], group.components[-1]}:
            real = real_scoring(model, component, num_seq, rows, 0)
            counted = scoring_bytes(call_of(model, rows), component, num_seq)
            require_near(counted, real, component.name)
            bound = rows * scoring_bytes_per_row(model.shape)
            weights = 8 * num_variants * 4 * model.shape.weights_of(component)
            blocks = 3 * 4 * 1024 * min(1024, model.shape.vocab_size)
            assert counted <= bound + weights + blocks, component.name


@pytest.mark.parametrize("list_size", [0, 64])
def test_scoring_with_rounded_products_and_lists(list_size: int) -> None:
    model = made("vocabulary", Precision.BFLOAT16)
    for group in some_groups(model.shape):
        if not (list_size and group.name in ("unembed", "full")):
            component = group.components[-1]
            real = real_scoring(model, component, 2, 6 * 2 * NUM_POS, list_size)
            call = call_of(model, 6 * 2 * NUM_POS)
            require_near(scoring_bytes(call, component, 2, list_size), real, component.name)


def real_step(
    model: GPTNeoX, group: Group, sampler: Any, num_seq: int, num_chains: int, rows: int
) -> int:
    part = group_model(model, group)
    ids = ids_of(model.shape, num_chains * num_seq).view(num_chains, num_seq, -1)

    def step() -> None:
        states = {
            name: {
                chain: start(sampler, part.weights(name), name, chain, RANDOMNESS)
                for chain in range(num_chains)
            }
            for name in part.names
        }
        advance(
            part, dict.fromkeys(part.names, sampler), states, ids, 0, RANDOMNESS,
            adjusted=dict.fromkeys(part.names, True), budget=RowBudget(rows=rows),
        )  # fmt: skip

    return peak_bytes(step)


@pytest.mark.parametrize(
    ("shape", "num_chains", "num_seq"),
    [
        ("parallel", 1, 6),
        ("sequential", 3, 2),
        ("vocabulary", 1, 1),
        ("many_heads", 1, 6),
        ("deep_and_wide", 3, 2),
    ],
)
def test_a_step_takes_what_is_counted(shape: str, num_chains: int, num_seq: int) -> None:
    model = made(shape)
    for group in some_groups(model.shape):
        for components in {group.components[:1], group.components}:
            own = dataclasses.replace(group, components=components)
            rows = num_chains * num_seq * NUM_POS * len(components)
            real = real_step(model, own, Psgld(), num_seq, num_chains, rows)
            call = call_of(model, rows)
            counted = step_bytes(call, components, Psgld(), num_seq, num_chains)
            require_near(counted, real, (group.name, len(components)))
            states = 7 * sum(state_bytes(call, c, Psgld()) for c in components)
            bound = rows * stepping_bytes_per_row(model.shape) + num_chains * states
            blocks = 3 * 4 * 1024 * min(1024, model.shape.vocab_size)
            assert counted <= bound + blocks, group.name


@pytest.mark.parametrize("sampler", [Mala(), Exponential(), Sgld()])
@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
def test_a_step_of_every_rule_and_in_micro_batches(sampler: Any, precision: Precision) -> None:
    model = made("parallel", precision)
    for group in some_groups(model.shape):
        for rows in (10**6, 2 * NUM_POS * len(group.components), 1):
            real = real_step(model, group, sampler, 4, 2, rows)
            counted = step_bytes(call_of(model, rows), group.components, sampler, 4, 2)
            require_near(counted, real, (group.name, rows))


def test_the_resident_model() -> None:
    model = made("parallel")
    held = sum(t.numel() * t.element_size() for t in model.params.values())
    assert resident_bytes(model.shape) == held
    assert resident_bytes(model.shape, 2) == held * 3 // 2


@pytest.mark.parametrize("list_size", [0, 16])
@pytest.mark.parametrize("name", ["l0h1", "l3mlp", "embed"])
def test_layers_and_vocabulary_that_are_left_out_change_no_peak(name: str, list_size: int) -> None:
    size = ModelSize(num_layers=6, num_heads=4, hidden_size=64, vocab_size=5000)
    (component,) = (c for c in all_components(6, 4) if c.name == name)
    call = CallShape(size=size, device_type="cpu", context=32, rows=300)
    short = call_memory._shortened(call, component, has_lists=list_size > 0)
    assert short.size.num_layers < 6 or name == "l3mlp"
    with mock.patch.object(call_memory, "_shortened", lambda whole, *_, **__: whole):
        whole = scoring_bytes.__wrapped__(call, component, 4, list_size)
    assert scoring_bytes(call, component, 4, list_size) == whole
