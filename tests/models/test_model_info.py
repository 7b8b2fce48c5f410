"""The digest by which a run knows its model."""

from __future__ import annotations

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from spectro.work.model_info import ModelInfo


def test_the_models_identity_has_its_arithmetic_and_its_weights() -> None:
    shape = {"vocab_size": 7, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = GPTNeoXForCausalLM(GPTNeoXConfig(**shape, intermediate_size=8))
    before = ModelInfo.of(model).weights_sha256
    model.config.use_parallel_residual = False
    assert ModelInfo.of(model).weights_sha256 != before
    model.config.use_parallel_residual = True
    assert ModelInfo.of(model).weights_sha256 == before
    model.gpt_neox.final_layer_norm.bias.data[0] += 1e-6
    assert ModelInfo.of(model).weights_sha256 != before
