"""Every family's engine against the universal one: losses and gradients of every component.

The universal engine is the model's own forward pass. In float64 transformers rounds RMS norms and
rotary angles to float32 in places; the norms are taken in float64 here, so that both sides are.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from spectro.models.components import (
    FULL,
    Component,
    ComponentKind,
    Group,
    ParameterPattern,
    group_components,
)
from spectro.models.engine import FAMILIES, engine_of
from spectro.models.groups import group_model
from spectro.models.size import ModelSize

V, T, R, B = 61, 17, 3, 4
SMALL = {
    "vocab_size": V, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 32, "initializer_range": 0.2,
}  # fmt: skip
LLAMA = {**SMALL, "num_key_value_heads": 2, "tie_word_embeddings": False}
CASES: dict[str, tuple[str, dict[str, object]]] = {
    "neox": ("gpt_neox", {**SMALL, "tie_word_embeddings": False}),
    "neox_sequential": (
        "gpt_neox", {**SMALL, "tie_word_embeddings": False, "use_parallel_residual": False},
    ),
    "neox_tied": ("gpt_neox", {**SMALL, "tie_word_embeddings": True}),
    "gpt2": ("gpt2", {**SMALL, "n_inner": 40}),
    "gpt2_untied": ("gpt2", {**SMALL, "tie_word_embeddings": False}),
    "llama": ("llama", LLAMA),
    "llama_no_sharing": ("llama", {**LLAMA, "num_key_value_heads": 4}),
    "llama_tied_biases": (
        "llama", {**LLAMA, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    ),
    "mistral": ("mistral", {**LLAMA, "sliding_window": None}),
    "mistral_window": ("mistral", {**LLAMA, "sliding_window": 5}),
    "qwen2": ("qwen2", LLAMA),
    "qwen2_windows": (
        "qwen2",
        {**LLAMA, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
    ),
    "gemma": ("gemma", {**LLAMA, "head_dim": 12, "tie_word_embeddings": True}),
    "attention_only": (
        "attention_only",
        {k: v for k, v in SMALL.items() if k != "intermediate_size"},
    ),
    "qwen3": ("qwen3", {**LLAMA, "head_dim": 12}),
}  # fmt: skip


def build(name: str) -> PreTrainedModel:
    """The case's model with random weights, norms and biases included, in float64."""
    family, fields = CASES[name]
    if family == "gpt2":
        fields = {k: v for k, v in fields.items() if k != "intermediate_size"}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **fields)).double()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


@pytest.fixture(params=CASES)
def hf(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PreTrainedModel:
    model = build(request.param)

    def norm(self: torch.nn.Module, states: Tensor) -> Tensor:
        is_gemma = type(self).__name__.startswith("Gemma")
        eps = self.eps if is_gemma else self.variance_epsilon
        return (
            (self.weight + is_gemma)
            * states
            * (states.square().mean(-1, keepdim=True) + eps).rsqrt()
        )

    kinds = {type(m) for m in model.modules() if type(m).__name__.endswith("RMSNorm")}
    for kind in kinds:
        monkeypatch.setattr(kind, "forward", norm)
    return model


def groups_of(size: ModelSize) -> list[Group]:
    """All components, all weights, and two that a user defines: all norms, and part of a map."""
    norms = ParameterPattern(parameters=r".*(norm|ln_)\w*(\.weight|\.bias)?.*")
    rows = ParameterPattern(
        parameters=r".*\.1\.(mlp|attn|attention|self_attn)\..*weight", ranges="2:9"
    )
    defined = [
        Component(name="norms", kind=ComponentKind.DEFINED, definition=(norms,)),
        Component(name="rows", kind=ComponentKind.DEFINED, definition=(rows,)),
    ]
    return list(group_components([*size.components, *defined, FULL]))


def displaced(weights: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    noise = torch.Generator().manual_seed(seed)
    return {
        block: (
            own + 0.1 * torch.randn((R, *own.shape), generator=noise, dtype=own.dtype)
        ).requires_grad_()
        for block, own in weights.items()
    }


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, V, (B, T + 1), generator=torch.Generator().manual_seed(5))


def test_logits_of_a_displaced_variant_are_the_models_own(hf: PreTrainedModel, ids: Tensor) -> None:
    fast, slow = engine_of(hf), engine_of(hf, universal=True)
    torch.testing.assert_close(fast.logits(ids), hf(ids).logits, rtol=1e-9, atol=1e-9)
    for group in groups_of(fast.shape):
        own, reference = group_model(fast, group), group_model(slow, group)
        for name in own.names:
            mine, theirs = (
                side.logits(
                    name, {b: w[1] for b, w in displaced(side.weights(name), 1).items()}, ids
                )
                for side in (own, reference)
            )
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)
            assert not torch.equal(theirs, slow.logits(ids))


def test_losses_and_gradients_are_those_of_the_models_own_forward(
    hf: PreTrainedModel, ids: Tensor
) -> None:
    fast, slow = engine_of(hf), engine_of(hf, universal=True)
    assert type(fast) is FAMILIES[hf.config.model_type]
    torch.testing.assert_close(fast.clean_losses(ids), slow.clean_losses(ids), rtol=1e-9, atol=1e-9)
    found = []
    for group in groups_of(fast.shape):
        own, reference = group_model(fast, group), group_model(slow, group)
        assert own.names == reference.names
        paired_ids = ids.repeat(R, 1)
        for paired in (False, True):
            given = paired_ids if paired else ids
            weights = {name: displaced(own.weights(name), 1) for name in own.names}
            others = {name: displaced(reference.weights(name), 1) for name in own.names}
            mine = own.losses(own.prepare(given), weights, paired=paired)
            theirs = reference.losses(reference.prepare(given), others, paired=paired)
            for name in own.names:
                torch.testing.assert_close(mine[name], theirs[name], rtol=1e-9, atol=1e-9)
                found.append(name)
            for (name, block), gradient, expected in zip(
                ((n, b) for n in own.names for b in weights[n]),
                gradients(mine, weights),
                gradients(theirs, others),
                strict=True,
            ):
                torch.testing.assert_close(
                    gradient,
                    expected,
                    rtol=1e-8,
                    atol=1e-9,
                    msg=lambda m, n=name, b=block: f"{n} {b}: {m}",
                )
    assert set(found) >= {c.name for c in fast.shape.components} | {"norms", "rows", "full"}


def gradients(losses: dict[str, Tensor], weights: dict[str, dict[str, Tensor]]) -> Iterator[Tensor]:
    leaves = [tensor for blocks in weights.values() for tensor in blocks.values()]
    total = sum(loss.square().sum() for loss in losses.values())
    return iter(torch.autograd.grad(total, leaves))


def test_the_components_of_a_model_hold_all_its_matrices_once(hf: PreTrainedModel) -> None:
    """Columns of chi divide the matrices among them; biases and norms may belong to none."""
    fast = engine_of(hf)
    counts = {name: torch.zeros_like(p) for name, p in fast.params.items()}
    for component in fast.shape.components:
        for part in fast.blocks(component).values():
            counts[part.parameter][part.index] += 1
    for name, count in counts.items():
        if "norm" in name or "ln_" in name or name.endswith("bias") or "wpe" in name:
            assert count.max() <= 1, name
        else:
            assert (count == 1).all(), name


def test_size_counts_the_models_weights(hf: PreTrainedModel) -> None:
    fast = engine_of(hf)
    biased = getattr(hf.config, "mlp_bias", False)  # Llama's optional ones are not in the size
    if not biased:
        assert fast.shape.num_weights == sum(p.numel() for p in hf.parameters())
        for component in fast.shape.components:
            blocks = fast.blocks(component).values()
            own = sum(fast.params[p.parameter][p.index].numel() for p in blocks)
            assert fast.shape.weights_of(component) == own, component.name
