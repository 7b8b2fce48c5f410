"""`spectro plan` and `spectro upsample` of models other than GPT-NeoX, as a person calls them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from spectro.config import PipelineConfig
from spectro.formats import product
from spectro.models.config import ModelConfig
from spectro.sampling.samplers import Gaussian
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from tests.conftest import FinishRun, MakeConfig

Job = Callable[..., int]
FIELDS = {
    "vocab_size": 257, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 32,
    "max_position_embeddings": 32, "initializer_range": 0.3, "bos_token_id": 256,
    "eos_token_id": 256, "pad_token_id": None,
}  # fmt: skip
PLAN = (
    "tokens.context=16", "chain.num_draws=2", "plan.rates=h200-assumed", "plan.out=plan.json",
    "components=[l0h1,l1mlp,embed]",
)  # fmt: skip


@pytest.fixture
def other_model(tiny_model_dir: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Folder of a small model of a family, with the tiny model's tokenizer."""

    def make(family: str) -> Path:
        folder = tmp_path / family
        torch.manual_seed(0)
        config = AutoConfig.for_model(family, **FIELDS)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        for file in tiny_model_dir.glob("tokenizer*"):
            shutil.copy(file, folder)
        return folder

    return make


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_a_run_is_measured_and_predicted(
    family: str,
    job: Job,
    capsys: pytest.CaptureFixture[str],
    make_config: MakeConfig,
    finish_run: FinishRun,
    other_model: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    config: PipelineConfig = make_config(
        sampler=Gaussian(gamma=300.0),
        model=ModelConfig(name_or_path=str(other_model(family)), device="cpu"),
        components=["l0h1", "l1*", "embed"],
    )
    tokens = dataclasses.replace(config.tokens, sequences_per_shard=3)
    finish_run(dataclasses.replace(config, tokens=tokens))
    fast = ("predict.num_folds=2", "predict.hidden=8", "predict.epochs=2", "run.num_workers=0")
    assert job("upsample", "run", "up", "tokens.num_probe_sequences=8", *fast) == 0
    assert "64 tokens predicted, 192 as measured" in capsys.readouterr().out
    summary = read_sealed(Store(str(tmp_path / "up")), product.SUMMARY_NAME)
    assert summary["num_tokens"] == 256


def test_a_model_of_the_universal_engine_is_planned(
    job: Job, capsys: pytest.CaptureFixture[str], other_model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = other_model("gemma2")
    (folder / "model.safetensors").unlink()  # its config alone is read
    assert job("plan", *PLAN, f"model.name_or_path={folder}", "plan.upsample_tokens=100000") == 0
    assert "3 components" in capsys.readouterr().out
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["totals"]["scoring_flops"] > 0 < plan["totals"]["device_seconds"]
    rounded = (*PLAN, f"model.name_or_path={folder}", "model.precision=bfloat16")
    assert job("plan", *rounded) == 2
    assert "leave model.precision at 'float32'" in capsys.readouterr().err


def test_the_attention_only_model_is_planned(job: Job, tmp_path: Path) -> None:
    assert job("plan", *PLAN[:4], "model=attention_only", "components=[l0h1,embed]") == 0
    assert json.loads((tmp_path / "plan.json").read_text())["totals"]["scoring_flops"] > 0
