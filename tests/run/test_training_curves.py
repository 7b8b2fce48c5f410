"""Curves over training: numbers from the chains' records, steps from names and records."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPTNeoXForCausalLM

from jobs import across as job
from spectro.analysis.training_curves import MeasuredCheckpoint, step_of, training_curves
from spectro.config import PipelineConfig
from spectro.formats.chain_records import read_record
from spectro.formats.product import read_product
from spectro.pipeline.run import Goal, run_pipeline
from spectro.sampling.control import Control
from spectro.storage.store import Store
from spectro.views.training import curves_over_training
from spectro.work.progress import Progress

STEPS = ("checkpoint-2000", "step1000", "last")


@pytest.fixture(scope="module")
def runs(
    whole_run: PipelineConfig, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[PipelineConfig]:
    """One run for each checkpoint, given out of order; that named `last` has a record."""
    root, made = tmp_path_factory.mktemp("training"), []
    for index, name in enumerate(STEPS):
        folder = root / "models" / name
        shutil.copytree(tiny_model_dir, folder)
        model = GPTNeoXForCausalLM.from_pretrained(folder)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.5 + 0.2 * index)
        model.save_pretrained(folder)
        if name == "last":
            (folder / "trainer_state.json").write_text(json.dumps({"global_step": 99_000}))
        config = dataclasses.replace(
            whole_run,
            model=dataclasses.replace(whole_run.model, name_or_path=str(folder)),
            control=Control.NONE,
            run=dataclasses.replace(whole_run.run, uri=str(root / name)),
        )
        run_pipeline(config, Progress(), goal=Goal.SAMPLE)
        made.append(config)
    return made


def test_the_curves_are_those_of_the_chains(runs: list[PipelineConfig]) -> None:
    found = curves_over_training([config.run.uri for config in runs])
    ordered = [runs[1], runs[0], runs[2]]
    assert found.steps == (1000, 2000, 99_000)
    assert found.names == tuple(config.run.uri for config in ordered)
    assert found.components == ("l1h0", "l1h1", "l1mlp", "embed")
    groups = {"l1h0": "l1", "l1h1": "l1", "l1mlp": "l1", "embed": "embed"}
    for row, config in enumerate(ordered):
        store = Store(config.run.uri)
        chi = read_product(store).chi_NH.astype(np.float64)
        np.testing.assert_allclose(found.chi_size_SH[row], chi.std(axis=0), rtol=1e-3)
        for column, name in enumerate(found.components):
            phi = [_mean_delta_loss(store, groups[name], chain, name) for chain in range(2)]
            expected = 10.0 * np.mean(phi)  # n beta of `whole_run`
            assert found.lambda_hat_SH[row, column] == pytest.approx(expected, rel=1e-5)
            error = 10.0 * abs(phi[0] - phi[1]) / 2
            assert found.lambda_error_SH[row, column] == pytest.approx(error, rel=1e-4, abs=1e-8)
    assert len(np.unique(found.lambda_hat_SH)) == found.lambda_hat_SH.size


def _mean_delta_loss(store: Store, group: str, chain: int, name: str) -> float:
    return float(np.mean(read_record(store, group, chain).components[name].delta_loss))


def test_table_json_and_picture(
    runs: list[PipelineConfig],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def printed(*words: str) -> str:
        uris = [config.run.uri for config in runs]
        monkeypatch.setattr(sys, "argv", ["spectro", *uris, "kind=training", *words])
        assert job.main() == 0
        return capsys.readouterr().out

    table = printed(f"out={tmp_path}/curves.svg")
    assert "Local learning coefficient" in table and "99,000" in table and "l1mlp" in table
    assert "l1mlp" in (tmp_path / "curves.svg").read_text()
    printed(f"out={tmp_path}/curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    found = json.loads(printed("format=json"))
    assert found["steps"] == [1000, 2000, 99_000] and len(found["chi_size_SH"]) == 3


def test_what_cannot_be_compared_is_refused(
    runs: list[PipelineConfig], whole_run: PipelineConfig
) -> None:
    first, own = runs[0].run.uri, whole_run.run.uri
    for uris, words in (
        ([first], "at least two runs"),
        ([first, first], "are both of training step 2000"),
        ([f"{own}/control", f"{own}/control"], "has nbeta 0"),
        ([first, own], "training step of its model 'model' is not known"),
        ([first, f"{own}/control"], "/control differs from .*expected runs that differ by"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            curves_over_training(uris)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="seed is 3, but it has no effect with kind=training"):
        job.AcrossJob(kind=job.AcrossKind.TRAINING, seed=3)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step1000", 1000), ("checkpoint-500", 500), ("tokens-0", 0), ("run2-step_30", 30),
        ("step1-tokens2", 1), ("stage1-step140000-tokens294B", 140_000), ("tokens4B", None),
        ("step1.5M", None), ("main", None), ("143000", None), ("model-410m", None),
    ],
)  # fmt: skip
def test_steps_in_names(name: str, step: int | None) -> None:
    assert step_of(name) == step


def test_only_shared_components_are_compared() -> None:
    def of(step: int, *components: str) -> MeasuredCheckpoint:
        value_H = np.arange(len(components)) + 10.0 * step
        return MeasuredCheckpoint(
            name=str(step), step=step, components=components, lambda_hat_H=value_H,
            lambda_error_H=value_H, chi_size_H=value_H,
        )  # fmt: skip

    found = training_curves([of(2, "l0h1", "embed"), of(1, "embed", "l0h0", "l0h1")])
    assert found.components == ("embed", "l0h1")
    assert found.lambda_hat_SH.tolist() == [[10.0, 12.0], [21.0, 20.0]]
    with pytest.raises(ValueError, match="no component in common"):
        training_curves([of(1, "embed"), of(2, "l0h0")])
