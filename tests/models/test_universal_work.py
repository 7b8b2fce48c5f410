"""Flops and memory of the universal engine, counted without values, against the real calls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peak import peak_bytes
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from spectro.models.components import FULL, Component, Group, group_components
from spectro.models.config import ModelConfig
from spectro.models.cost.budget import RowBudget, draws_at_once
from spectro.models.cost.flop_counter import counting
from spectro.models.delta import DrawSlice, pack_losses
from spectro.models.engine import engine_of
from spectro.models.groups import group_model
from spectro.models.scoring import Scoring
from spectro.models.size_of_config import size_of_config
from spectro.models.universal import UniversalModel
from spectro.planning.call_flops import call_flops, has_prefix, model_flops
from spectro.planning.call_memory import CallShape, scoring_bytes, step_bytes
from spectro.planning.model_sizes import size_of_checkpoint
from spectro.sampling.advance import advance, start
from spectro.sampling.draws import gaussian_draws
from spectro.sampling.gradients import minibatch_gradients
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.samplers import Gaussian, Psgld
from spectro.upsampling.costs import features_flops
from tests.models.small_models import SMALL

LAYERS = {**SMALL, "num_hidden_layers": 4}
MODELS: dict[str, tuple[str, dict[str, object]]] = {
    "gemma2": ("gemma2", {**LAYERS, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 6}),
    "gemma3": (
        "gemma3_text", {**LAYERS, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 6},
    ),
    "olmo2": ("olmo2", LAYERS),
    "cohere": ("cohere", LAYERS),
    "phi": ("phi", LAYERS),
    "opt": ("opt", {**LAYERS, "ffn_dim": 48, "word_embed_proj_dim": 32}),
    "gpt_neo": (
        "gpt_neo",
        {
            "vocab_size": 61, "hidden_size": 32, "num_layers": 4, "num_heads": 4,
            "attention_types": [[["global", "local"], 2]], "max_position_embeddings": 32,
        },
    ),
    "bloom": ("bloom", {"vocab_size": 61, "hidden_size": 32, "n_layer": 4, "n_head": 4}),
    "mamba": ("mamba", {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 4}),
}  # fmt: skip
NUM_SEQ, NUM_POS = 2, 16
WORKSPACE = 2**19
"""Bytes that kernels take for themselves, at most (tests/run/test_call_memory.py)."""
ABOVE = 1.5


def made(name: str, **overrides: object) -> tuple[PreTrainedModel, UniversalModel]:
    family, fields = MODELS[name]
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **(fields | {"pad_token_id": None} | overrides))
    hf = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    engine = engine_of(hf)
    assert isinstance(engine, UniversalModel)
    return hf, engine


def known_groups(model: UniversalModel) -> list[Group]:
    """Groups of the components whose parameters have known names."""
    found = []
    for component in (*model.shape.components, FULL):
        try:
            model.blocks(component)
        except ValueError:
            continue
        found.append(component)
    return list(group_components(found))


def ids_of(num_seq: int, num_pos: int = NUM_POS, vocab_size: int = 61) -> Tensor:
    return torch.randint(0, vocab_size, (num_seq, num_pos + 1))


@pytest.mark.parametrize("name", MODELS)
def test_every_call_of_every_group(name: str) -> None:
    hf, model = made(name)
    size = model.shape
    assert size == size_of_config(hf.config.to_dict())
    assert size.num_weights == sum(p.numel() for p in hf.parameters())
    ids = ids_of(NUM_SEQ)
    with counting() as counter:
        model.clean_losses(ids)
    assert model_flops(size, NUM_SEQ, NUM_POS) == counter.get_total_flops()
    for group in known_groups(model):
        part, found = group_model(model, group), call_flops(size, group, NUM_SEQ, NUM_POS)
        own = {n: part.weights(n) for n in part.names}
        for component in group.components:
            of_blocks = sum(t.numel() for t in own[component.name].values())
            assert size.weights_of(component) == of_blocks
        with torch.no_grad(), counting() as counter:
            once = {n: {b: t[None] for b, t in blocks.items()} for n, blocks in own.items()}
            part.losses(part.prepare(ids), once)
        assert found.losses == counter.get_total_flops(), group.name
        with counting() as counter:
            minibatch_gradients(part, {n: [blocks] for n, blocks in own.items()}, ids[None])
        assert found.gradient == counter.get_total_flops(), group.name
        assert found.prepare == 0 and not has_prefix(size, group)


@pytest.mark.parametrize("name", ["gemma2", "opt", "bloom"])
def test_memory_of_scoring_and_stepping(name: str) -> None:
    _, model = made(name, vocab_size=3000)
    num_pos = 64 if name == "bloom" else 31
    rows, num_seq, rule = 4 * 2 * num_pos, 2, Psgld(gamma=100.0, step_size=1e-3)
    call = CallShape(size=model.shape, device_type="cpu", context=num_pos, rows=rows)
    for group in known_groups(model):
        for component in {group.components[0], group.components[-1]}:
            part = group_model(model, Group(name=component.group, components=(component,)))
            ids = ids_of(num_seq, num_pos, 3000)
            real = peak_bytes(lambda p=part, i=ids: score(p, i, rows))
            require_near(scoring_bytes(call, component, num_seq), real, component)
            real = peak_bytes(lambda p=part, i=ids: step(p, i, rows, rule))
            require_near(step_bytes(call, (component,), rule, num_seq), real, component)


def score(part: object, ids: Tensor, rows: int) -> None:
    (name,) = part.names
    weights = part.weights(name)
    randomness = KeyedRandomness(seed=0)
    source = gaussian_draws({name: weights}, Gaussian(), 0, randomness)
    together = draws_at_once(rows, ids[:, 1:].numel(), sum(4 * t.numel() for t in weights.values()))
    wanted = [DrawSlice(0, name, slice(0, 2 * together))]
    for _ in pack_losses(part, ids, {0: source}, wanted, Scoring(budget=RowBudget(rows=rows))):
        pass


def step(part: object, ids: Tensor, rows: int, rule: Psgld) -> None:
    (name,) = part.names
    randomness = KeyedRandomness(seed=0)
    states = {name: {0: start(rule, part.weights(name), name, 0, randomness)}}
    advance(
        part, {name: rule}, states, ids[None], 0, randomness,
        adjusted={name: True}, budget=RowBudget(rows=rows),
    )  # fmt: skip


def require_near(counted: int, real: int, component: Component) -> None:
    assert real <= counted + WORKSPACE, (component.name, real, counted)
    assert counted <= ABOVE * real + WORKSPACE, (component.name, real, counted)


def test_size_by_config_json_is_that_of_the_loaded_model(tmp_path: Path) -> None:
    """What config.json leaves out, such as that the embeddings are tied, is transformers' own."""
    hf, model = made("gemma2")
    config = hf.config.to_diff_dict()
    del config["tie_word_embeddings"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = size_of_checkpoint(ModelConfig(name_or_path=str(tmp_path)))
    assert found == model.shape
    assert found.is_tied
    assert [c.name for c in found.components][-1] != "unembed"


def test_flops_of_features() -> None:
    """A forward pass, and nothing of the backward pass but what the unembedding takes."""
    _, model = made("gemma2")
    each = features_flops(model.shape, NUM_POS)
    forward = model_flops(model.shape, 1, NUM_POS) / NUM_POS
    assert forward <= each < 1.5 * forward


def test_a_forward_that_depends_on_values_is_refused() -> None:
    config = AutoConfig.for_model("mixtral", **LAYERS, num_key_value_heads=2)
    with pytest.raises(ValueError, match="cannot run without values, as that of a mixture"):
        model_flops(size_of_config(config.to_dict()), 1, NUM_POS)
