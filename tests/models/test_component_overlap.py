"""Which components share weights, against counting every number."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from spectro.models.components import Component
from spectro.models.engine import engine_of
from spectro.models.overlap import overlap_warnings, overlaps

SMALL = {
    "vocab_size": 31, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 24, "max_position_embeddings": 32,
}  # fmt: skip
CASES = {
    "gpt_neox": SMALL | {"tie_word_embeddings": False},
    "qwen3": SMALL | {"num_key_value_heads": 2, "head_dim": 4, "tie_word_embeddings": True},
}


@pytest.mark.parametrize("family", CASES)
def test_pairs_are_those_that_count_a_number_twice(family: str) -> None:
    torch.manual_seed(0)
    engine = engine_of(
        AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **CASES[family])).eval()
        .requires_grad_(False)
    )  # fmt: skip
    patterns = ["*", "l*attn", "l1layer", "*norm*", "l0*.*", "full", "ups=.*up.*|.*h_to_4h.*"]
    patterns.append(r"rows=.*\.1\..*(q_proj|query_key_value)\.weight@3:6")
    chosen = engine.shape.select(patterns)

    def numbers(component: Component) -> torch.Tensor:
        own = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in engine.params.items()}
        for part in engine.blocks(component).values():
            own[part.parameter][part.index] = True
        return torch.cat([mask.flatten() for mask in own.values()])

    masks = {c.name: numbers(c) for c in chosen}
    expected = [(a, b) for a, b in combinations(masks, 2) if (masks[a] & masks[b]).any()]
    assert list(overlaps({c.name: engine.blocks(c) for c in chosen})) == expected
    (sentence,) = overlap_warnings(chosen, engine.shape, engine.blocks)
    assert f"and {len(expected) - 3} more pairs share weights" in sentence


def test_standard_components_and_separate_ones_have_no_warning() -> None:
    engine = engine_of(
        AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt_neox", **CASES["gpt_neox"]))
        .eval().requires_grad_(False)
    )  # fmt: skip
    for patterns in (["*"], ["l*attn", "l*mlp", "*norm*"], ["l0h0", "l0h1.q", "l1layer"]):
        chosen = engine.shape.select(patterns)
        assert overlap_warnings(chosen, engine.shape, engine.blocks) == []
    chosen = engine.shape.select(["l0h1", "l0h1.q"])
    (sentence,) = overlap_warnings(chosen, engine.shape, engine.blocks)
    assert sentence.startswith("components overlap: l0h1 and l0h1.q share weights;")
