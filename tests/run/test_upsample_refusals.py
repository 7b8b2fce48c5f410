"""Runs that χ cannot be predicted from, and places that cannot hold predictions."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from spectro.config import PipelineConfig
from spectro.formats import product, run_dir
from spectro.formats.fingerprint import FORMAT_VERSION, OtherRunError, digest
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.load import load_model
from spectro.predict.config import PredictConfig
from spectro.predict.features import token_features
from spectro.storage.checksummed_json import DIGEST, read_sealed, seal
from spectro.storage.store import Store
from spectro.upsampling import learning as upsample_learning
from spectro.work.errors import UnitError
from tests.run.upsampled_runs import PROBE, run, upsampled


def one_shard(config: PipelineConfig, uri: Path) -> PipelineConfig:
    tokens_config = dataclasses.replace(config.tokens, sequences_per_shard=2 * PROBE)
    own = dataclasses.replace(config.run, uri=str(uri))
    return run(dataclasses.replace(config, tokens=tokens_config, run=own))


def one_chain(config: PipelineConfig, uri: Path) -> PipelineConfig:
    chain = dataclasses.replace(config.chain, num_chains=1)
    own = dataclasses.replace(config.run, uri=str(uri))
    return run(dataclasses.replace(config, chain=chain, run=own))


def unfinished(config: PipelineConfig, uri: Path) -> PipelineConfig:
    shutil.copytree(config.run.uri, uri)
    (uri / product.part_name(3)).unlink()
    return dataclasses.replace(config, run=dataclasses.replace(config.run, uri=str(uri)))


def of_another_model(config: PipelineConfig, uri: Path) -> PipelineConfig:
    """Its checkpoint has changed since it was measured."""
    shutil.copytree(config.run.uri, uri)
    folder = uri.parent / "model"
    shutil.copytree(config.model.name_or_path, folder)
    model = load_model(dataclasses.replace(config.model, name_or_path=str(folder)))
    with torch.no_grad():
        model.gpt_neox.final_layer_norm.bias[0] += 0.5
    model.save_pretrained(folder)
    changed = dataclasses.replace(config.model, name_or_path=str(folder))
    own = dataclasses.replace(config.run, uri=str(uri))
    return dataclasses.replace(config, model=changed, run=own)


def of_another_tokenizer(config: PipelineConfig, uri: Path) -> PipelineConfig:
    """Two letters have changed places in the vocabulary since it was measured."""
    shutil.copytree(config.run.uri, uri)
    folder = uri.parent / "model"
    shutil.copytree(config.model.name_or_path, folder)
    file = folder / "tokenizer.json"
    plain = json.loads(file.read_text())
    vocab = plain["model"]["vocab"]
    vocab["e"], vocab["r"] = vocab["r"], vocab["e"]
    file.write_text(json.dumps(plain))
    changed = dataclasses.replace(config.model, name_or_path=str(folder))
    own = dataclasses.replace(config.run, uri=str(uri))
    return dataclasses.replace(config, model=changed, run=own)


def predicted(config: PipelineConfig, uri: Path) -> PipelineConfig:
    fast = PredictConfig(num_folds=2, hidden=8, epochs=1)
    return run(upsampled(config, uri, num=None, predict=fast))


def of_an_earlier_version(config: PipelineConfig, uri: Path) -> PipelineConfig:
    """Its summary has nothing of the halves of the chains."""
    shutil.copytree(config.run.uri, uri)
    store = Store(str(uri))
    summary = read_sealed(store, product.SUMMARY_NAME)
    del summary["mean_phi_of_halves"]
    (uri / product.SUMMARY_NAME).write_bytes(seal(summary))
    return dataclasses.replace(config, run=dataclasses.replace(config.run, uri=str(uri)))


def of_another_format(config: PipelineConfig, uri: Path) -> PipelineConfig:
    """Its numbers mean something else."""
    shutil.copytree(config.run.uri, uri)
    plain = yaml.safe_load((uri / run_dir.NAME).read_text())
    plain["inputs"]["format"] = FORMAT_VERSION - 1
    plain["fingerprint"] = digest(plain["inputs"])
    plain[DIGEST] = digest({name: value for name, value in plain.items() if name != DIGEST})
    (uri / run_dir.NAME).write_text(yaml.safe_dump(plain))
    return dataclasses.replace(config, run=dataclasses.replace(config.run, uri=str(uri)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (one_shard, "has 1 token shard: at least 2 are needed"),
        (one_chain, "it has one chain"),
        (unfinished, "is not measured to the end (5 of 6 token shards are measured)"),
        (of_another_model, "was measured for another model"),
        (of_another_tokenizer, "does not give the sequences that"),
        (predicted, "is itself predicted, from"),
        (of_an_earlier_version, "version of spectro (its summary has no mean_phi_of_halves"),
        (of_another_format, f"(format {FORMAT_VERSION - 1}, expected format {FORMAT_VERSION})"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_runs_that_cannot_be_learnt_from_are_refused(
    measured_run: PipelineConfig, tmp_path: Path, spoil: Callable, message: str
) -> None:
    spoilt, target = spoil(measured_run, tmp_path / "spoilt"), tmp_path / "up"
    with pytest.raises(ValueError) as caught:
        run(upsampled(spoilt, target))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not target.exists()


def test_a_place_that_holds_another_run_is_refused(
    measured_run: PipelineConfig, tmp_path: Path
) -> None:
    copy = tmp_path / "other"
    shutil.copytree(measured_run.run.uri, copy)
    before = sorted(path.name for path in copy.rglob("*"))
    with pytest.raises(OtherRunError, match="upsample"):
        run(upsampled(measured_run, copy))
    assert sorted(path.name for path in copy.rglob("*")) == before
    fast = PredictConfig(num_folds=2, hidden=8, epochs=1)
    made = run(upsampled(measured_run, tmp_path / "up", num=None, predict=fast))
    plain = dataclasses.replace(measured_run, run=made.run)  # measuring where predictions are
    with pytest.raises(OtherRunError, match="upsample"):
        run(plain)
    other = dataclasses.replace(fast, epochs=3)
    with pytest.raises(OtherRunError, match=r"upsample\.predict\.epochs: 1 → 3"):
        run(upsampled(measured_run, tmp_path / "up", num=None, predict=other))


def test_features_that_are_not_finite_end_the_run_in_one_line(
    measured_run: PipelineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: GPTNeoX, ids: torch.Tensor) -> np.ndarray:
        found = token_features(model, ids)
        found[3, 5] = np.nan
        return found

    monkeypatch.setattr(upsample_learning, "token_features", broken)
    with pytest.raises(UnitError, match=r"token shard 0 .*not finite"):
        run(upsampled(measured_run, tmp_path / "up"))
    assert not (tmp_path / "up" / "susceptibilities").exists()
