"""Small random GPT-NeoX models in every variant of the architecture."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

MakeModel = Callable[..., GPTNeoXForCausalLM]


@pytest.fixture
def make_model() -> MakeModel:
    """Factory of random models; keyword arguments override the config."""

    def make(seed: int = 0, **overrides: object) -> GPTNeoXForCausalLM:
        torch.manual_seed(seed)
        settings = {
            "vocab_size": 61,
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "max_position_embeddings": 64,
            "initializer_range": 0.2,
        }
        config = GPTNeoXConfig(**{**settings, **overrides})
        model = GPTNeoXForCausalLM(config).eval()
        for parameter in model.parameters():  # biases and norms away from 0 and 1
            parameter.data += 0.05 * torch.randn_like(parameter)
        return model.requires_grad_(False)

    return make
