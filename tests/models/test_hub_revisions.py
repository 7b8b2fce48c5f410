"""Revisions of a hub repository, read from a cache folder without the network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from spectro.models.weight_files import WEIGHTS
from tests.report.made_tokenizers import byte_level

NAME = "somebody/small"
READ = """
import json, sys
from spectro.models.config import ModelConfig
from spectro.models.load import load_model, load_tokenizer
found = {}
for revision in sys.argv[1:]:
    config = ModelConfig(name_or_path="somebody/small", revision=revision, device="cpu")
    try:
        weight = load_model(config).get_input_embeddings().weight
        found[revision] = [float(weight.double().sum()), len(load_tokenizer(config))]
    except ValueError as error:
        found[revision] = str(error)
print(json.dumps(found))
"""


def _snapshot(cache: Path, revision: str, commit: str, seed: int) -> float:
    """Put a revision in the hub's cache; the sum of its embedding."""
    root = cache / f"models--{NAME.replace('/', '--')}"
    folder = root / "snapshots" / commit
    torch.manual_seed(seed)
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(byte_level()), **sizes))
    model.save_pretrained(folder)
    byte_level().save_pretrained(folder)
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / revision).write_text(commit)
    return float(model.get_input_embeddings().weight.double().sum())


def test_each_revision_has_its_own_weights(tmp_path: Path) -> None:
    expected = {
        revision: _snapshot(tmp_path, revision, str(seed) * 40, seed)
        for seed, revision in enumerate(("step1000", "step2000"))
    }
    _snapshot(tmp_path, "step3000", "3" * 40, 3)
    damaged = tmp_path / "models--somebody--small" / "snapshots" / ("3" * 40) / WEIGHTS
    weights = load_file(damaged)
    weights["transformer.wte.weight"] = weights["transformer.wte.weight"].to(torch.int8)
    save_file(weights, damaged)
    made = subprocess.run(
        [sys.executable, "-c", READ, *expected, "step3000", "step4000"],
        env=os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(made.stdout.splitlines()[-1])
    for revision, total in expected.items():
        assert found[revision] == [total, len(byte_level())]
    assert expected["step1000"] != expected["step2000"]
    assert "weights of type I8 (transformer.wte.weight" in found["step3000"]
    assert f"model '{NAME}' cannot be opened: " in found["step4000"]
