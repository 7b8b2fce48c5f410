"""`spectro autoencoder` from text to a folder that `spectro sae` reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from spectro.autoencoders.read import PACKAGED, read_autoencoder
from spectro.models.config import ModelConfig
from spectro.models.load import load_model
from spectro.work.model_info import ModelInfo

Job = Callable[..., int]


def test_a_small_one_is_trained_and_read(
    tiny_model_dir: Path, text_dir: Path, tmp_path: Path, job: Job,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    subsets = f"{{code: {{kind: text_folder, path: {text_dir / 'code'}}}}}"
    assert (
        job(
            "autoencoder", f"out_dir={tmp_path / 'sae'}", f"model.name_or_path={tiny_model_dir}",
            "hook=layers.0", f"tokens.subsets={subsets}", "tokens.context=16",
            "tokens.num_probe_sequences=64", "tokens.num_sampling_sequences=1",
            "tokens.num_evaluation_sequences=8", "top_k.num_features=32", "top_k.k=4",
            "num_tokens=60000", "batch_tokens=256", "buffer_sequences=32",
        )
        == 0
    )  # fmt: skip
    found, _ = read_autoencoder(str(tmp_path / "sae"))
    own = found.autoencoder
    assert (own.num_inputs, own.num_features, own.k) == (16, 32, 4)
    assert found.hook == "blocks.0.hook_resid_post"
    model = load_model(ModelConfig(name_or_path=str(tiny_model_dir)))
    assert found.weights_sha256 == ModelInfo.of(model).weights_sha256
    torch.testing.assert_close(own.w_dec_FD.norm(dim=1), torch.ones(32))
    record = json.loads((tmp_path / "sae" / "training.json").read_text())
    assert record["heldout_fvu"] < 0.5  # TopK with k = 4 of vectors of 16 that repeat
    assert "error" in capsys.readouterr().out


def test_the_shipped_one_is_of_the_embedded_model() -> None:
    """Its files say so, and its weights are those of the package."""
    found, _ = read_autoencoder("embedded")
    assert found.model == "embedded"
    assert found.weights_sha256 == ModelInfo.of(load_model(ModelConfig())).weights_sha256
    assert found.autoencoder.num_features == 2048
    assert set(PACKAGED) == {"embedded"}


def test_no_folder_is_refused(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    assert job("autoencoder") == 2
    assert "out_dir is empty" in capsys.readouterr().err
