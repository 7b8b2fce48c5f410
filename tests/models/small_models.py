"""Small random models of every family, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

import spectro.models.attention_only  # noqa: F401 - registers the type

V = 61
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
    "granite": (
        "granite",
        {
            **LLAMA, "embedding_multiplier": 3.0, "residual_multiplier": 0.3,
            "attention_multiplier": 0.11, "logits_scaling": 2.5,
        },
    ),
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


def exact_norms(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> PreTrainedModel:
    """The model with its RMS norms taken in float64, which transformers takes in float32."""

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
