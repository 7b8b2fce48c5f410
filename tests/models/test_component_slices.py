"""Which numbers a named component has, against each family's own forward pass.

The slices are written out here by hand, for head 1 of layer 1 (four heads of eight dimensions, two
sets of keys and values where heads share them).
"""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from spectro.models.engine import engine_of

SMALL = {
    "vocab_size": 31, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 32,
}  # fmt: skip
FIELDS = {
    "gpt_neox": SMALL | {"tie_word_embeddings": False},
    "gpt2": {k: v for k, v in SMALL.items() if k != "intermediate_size"},
    "qwen3": SMALL | {"num_key_value_heads": 2, "head_dim": 8},
}
NEOX, GPT2, QWEN = "gpt_neox.layers.1.", "transformer.h.1.", "model.layers.1."
QKV, C_ATTN = NEOX + "attention.query_key_value.", GPT2 + "attn.c_attn."
ALL = slice(None)
EXPECTED = [
    ("gpt_neox", "l1h1.q", {QKV + "weight": slice(24, 32), QKV + "bias": slice(24, 32)}),
    ("gpt_neox", "l1h1.k", {QKV + "weight": slice(32, 40), QKV + "bias": slice(32, 40)}),
    ("gpt_neox", "l1h1.v", {QKV + "weight": slice(40, 48), QKV + "bias": slice(40, 48)}),
    ("gpt_neox", "l1h1.o", {NEOX + "attention.dense.weight": (ALL, slice(8, 16))}),
    ("gpt2", "l1h1.q", {C_ATTN + "weight": (ALL, slice(8, 16)), C_ATTN + "bias": slice(8, 16)}),
    ("gpt2", "l1h1.k", {C_ATTN + "weight": (ALL, slice(40, 48)), C_ATTN + "bias": slice(40, 48)}),
    ("gpt2", "l1h1.v", {C_ATTN + "weight": (ALL, slice(72, 80)), C_ATTN + "bias": slice(72, 80)}),
    ("gpt2", "l1h1.o", {GPT2 + "attn.c_proj.weight": slice(8, 16)}),
    ("gpt2", "l1norm2", {GPT2 + "ln_2.weight": ALL, GPT2 + "ln_2.bias": ALL}),
    ("gpt2", "final_norm", {"transformer.ln_f.weight": ALL, "transformer.ln_f.bias": ALL}),
    ("gpt2", "l1mlp.up", {GPT2 + "mlp.c_fc.weight": ALL, GPT2 + "mlp.c_fc.bias": ALL}),
    ("qwen3", "l1h1.q", {QWEN + "self_attn.q_proj.weight": slice(8, 16)}),
    ("qwen3", "l1kv1.v", {QWEN + "self_attn.v_proj.weight": slice(8, 16)}),
    ("qwen3", "l1mlp.gate", {QWEN + "mlp.gate_proj.weight": ALL}),
    ("qwen3", "l1k_norm", {QWEN + "self_attn.k_norm.weight": ALL}),
    ("qwen3", "l1norm1", {QWEN + "input_layernorm.weight": ALL}),
    ("qwen3", "final_norm", {"model.norm.weight": ALL}),
]


def build(family: str) -> PreTrainedModel:
    config = AutoConfig.for_model(family, **FIELDS[family])
    config._attn_implementation = "eager"  # it gives the attention pattern
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


@pytest.mark.parametrize("universal", [False, True])
@pytest.mark.parametrize(("family", "name", "slices"), EXPECTED)
def test_slices_of_parts(
    family: str, name: str, slices: dict[str, object], universal: bool
) -> None:
    engine = engine_of(build(family), universal=universal)
    (component,) = engine.shape.select([name])
    found = {name: torch.zeros_like(p) for name, p in engine.params.items()}
    for part in engine.blocks(component).values():
        found[part.parameter][part.index] += 1
    expected = {name: torch.zeros_like(p) for name, p in engine.params.items()}
    for parameter, index in slices.items():
        expected[parameter][index] = 1
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("family", FIELDS)
def test_queries_and_keys_move_one_pattern_and_values_none(family: str) -> None:
    """The model's own attention patterns in the layer of the head whose part is displaced."""
    model, ids = build(family), torch.arange(20)[None]
    engine = engine_of(model)
    clean_HTT = model(ids, output_attentions=True).attentions[1][0]
    for name in ("l1h1.q", "l1h1.o", *(["l1kv0.k"] if family == "qwen3" else ["l1h1.k", "l1h1.v"])):
        (component,) = engine.shape.select([name])
        other = build(family)
        params = dict(other.named_parameters())
        for part in engine.blocks(component).values():
            params[part.parameter][part.index] += 0.5
        moved_HTT = other(ids, output_attentions=True).attentions[1][0]
        heads = {h for h in range(4) if not torch.equal(moved_HTT[h], clean_HTT[h])}
        own = {0, 1} if ".k" in name and family == "qwen3" else {1}
        assert heads == (own if name[-1] in "qk" else set()), name


@pytest.mark.parametrize("family", FIELDS)
def test_a_layer_is_its_attention_mlp_and_norms(family: str) -> None:
    """And all layers with embeddings and final norm are the model."""
    engine = engine_of(build(family))

    def parameters(*patterns: str) -> list[str]:
        chosen = engine.shape.select(patterns)
        return sorted(p.parameter for c in chosen for p in engine.blocks(c).values())

    assert parameters("l1layer") == parameters("l1attn", "l1mlp", "l1norm*")
    positions = ["transformer.wpe.weight"] if family == "gpt2" else []
    edges = ["embed", "final_norm", *([] if engine.shape.is_tied else ["unembed"])]
    assert sorted([*parameters("l*layer", *edges), *positions]) == parameters("full")
