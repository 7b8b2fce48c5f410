"""`spectro upsample` and its plan as a person calls them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from spectro.config import PipelineConfig
from spectro.formats import product
from spectro.formats.predictors import predictor_name
from spectro.measure.units import TokensUnit
from spectro.models.config import ModelConfig
from spectro.models.cost.flop_counter import counting
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.load import load_model
from spectro.models.size import ModelSize
from spectro.planning.unit_work import total
from spectro.predict.config import PredictConfig
from spectro.predict.features import feature_tensor
from spectro.sampling.samplers import Gaussian
from spectro.storage.checksummed_arrays import read_arrays
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from spectro.upsampling import costs as upsample_work
from spectro.upsampling.costs import UpsampleRecord, UpsampleWork, features_flops, network_flops
from spectro.upsampling.learning import sequences_at_once
from spectro.upsampling.units import FeaturesUnit, upsample_units
from tests.conftest import FinishRun, MakeConfig

Job = Callable[..., int]
FAST = ("predict.num_folds=2", "predict.hidden=8", "predict.epochs=2", "run.num_workers=0")
SIZE = ModelSize(num_layers=4, num_heads=2, hidden_size=16, intermediate_size=24, vocab_size=61)


@pytest.fixture
def measured(make_config: MakeConfig, finish_run: FinishRun) -> PipelineConfig:
    """A finished run `run` of four shards in the folder that jobs are called in."""
    config = make_config(sampler=Gaussian(gamma=300.0))
    tokens = dataclasses.replace(config.tokens, sequences_per_shard=3)
    config = dataclasses.replace(config, tokens=tokens)
    finish_run(config)
    return config


def test_a_run_is_predicted_looked_at_and_billed(
    job: Job, capsys: pytest.CaptureFixture[str], measured: PipelineConfig, tmp_path: Path
) -> None:
    assert job("upsample", "run", "up", "tokens.num_probe_sequences=8", *FAST) == 0
    out = capsys.readouterr().out
    assert "Held-out shards along held-out draws (192 tokens)" in out
    assert "64 tokens predicted, 192 as measured (its shards share their draws)" in out
    summary = read_sealed(Store(str(tmp_path / "up")), product.SUMMARY_NAME)
    assert summary["num_tokens"] == 256
    assert summary["upsampled"]["held_out"]["own_draws"] is False
    assert set(summary["seconds"]) == {"features", "training", "prediction"}
    assert job("upsample", "run", "up", "tokens.num_probe_sequences=8", *FAST) == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert job("verify", "up") == 0
    assert job("status", "up") == 0
    assert "measured, 17 of" in capsys.readouterr().out.replace("\n", " ")
    plan = ("plan", "run.uri=up", "plan.bill=true", "plan.rates=h200-assumed", "plan.out=plan.json")
    assert job(*plan) == 0
    bill = json.loads((tmp_path / "plan.json").read_text())["bill"]
    assert [line["stage"] for line in bill] == ["features", "training", "prediction"]
    assert [line["planned"]["num_units"] for line in bill] == [4, 5, 6]
    assert all(line["seconds"] > 0 for line in bill)
    for line in bill:  # nothing was done twice: what was recorded is what the plan counts
        for key in ("scoring_flops", "stepping_flops", "written_bytes", "num_units"):
            assert line["done"][key] == line["planned"][key] > 0 or key == "scoring_flops"
    first = Store(str(tmp_path / "up"))
    known = read_arrays(first, predictor_name(0, 0))
    assert known["learnt"] == [96 * 250]  # two of four shards, one step a pass
    for looked, message in (("diagnose", "no chains"), ("upsample", "is itself predicted")):
        capsys.readouterr()
        arguments = ("up", "again", *FAST) if looked == "upsample" else ("up",)
        assert job(looked, *arguments) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere", "up"), "nowhere is not the folder of a run"),
        (("run", "run"), "the measured run itself"),
        (("run", "up", "predict.num_folds=1"), "predict.num_folds must be at least 2"),
        (("run", "up", "tokens.num_probe_sequences=0"), "at least 1"),
    ],
    ids=["no-run", "itself", "networks", "tokens"],
)
def test_what_cannot_be_is_refused(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    measured: PipelineConfig,
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    assert job("upsample", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "up").exists()


def test_features_are_counted_as_the_real_call_does_them(tiny_model_dir: Path) -> None:
    hf = load_model(ModelConfig(name_or_path=str(tiny_model_dir), device="cpu"))
    size = ModelSize.of_config(hf.config.to_dict())
    num_seq = sequences_at_once(16)
    ids = torch.zeros((num_seq, 17), dtype=torch.int64)
    model = GPTNeoX.from_pretrained_model(hf)
    # the counter's hooks on modules do not go with gradients of a gradient within one
    model.shape = dataclasses.replace(model.shape, activation=torch.nn.functional.gelu)
    with counting() as counter:
        feature_tensor(model, ids)
    assert features_flops(size, 16) * num_seq * 16 == counter.get_total_flops()


def test_work_is_that_of_the_units() -> None:
    predict = PredictConfig(num_folds=3, hidden=7, epochs=5)
    work = UpsampleWork(
        size=SIZE, context=8, num_columns=4, measured_sizes=(4, 4, 2),
        shard_sizes=(4, 4, 2, 6), predict=predict,
    )  # fmt: skip
    counted = work.units()
    last = upsample_units(
        num_measured=3, shard_sizes=(4, 4, 2, 6), num_folds=3, tokens=TokensUnit(), probe_sha256=""
    )
    judged, *trained = last.needs[0].needs
    features = [unit for unit in judged.needs if isinstance(unit, FeaturesUnit)]
    assert len(counted["features"]) == len(features) == 3
    assert len(counted["training"]) == len(trained) + 1 == 7
    assert len(counted["prediction"]) == len(last.needs) == 4
    forward, learnt = network_flops(SIZE, 4, predict)
    num_features = upsample_work.num_features_of(SIZE)
    assert forward == 2 * (num_features * 7 + 7 * 7 + 7 * 5)
    assert learnt == 3 * forward - 2 * num_features * 7
    assert counted["training"][0].stepping_flops == learnt * (80 * 2 // 3) * 250  # 1 step a pass
    assert counted["prediction"][3].scoring_flops == 6 * forward * 48  # 2 halves, 3 folds
    assert counted["prediction"][0].scoring_flops == 2 * forward * 32  # its own fold's
    assert counted["features"][0].written_bytes == 4 * num_features * 32
    record = UpsampleRecord(
        feature_tokens=80, learnt_tokens=1000, judged_tokens=64, measured_tokens=80, new_tokens=48
    )
    done = work.done(record)
    assert done["training"].stepping_flops == learnt * 1000
    assert done["training"].scoring_flops == 2 * forward * 64
    assert done["training"].num_units == 7
    assert done["features"] == total(counted["features"])
    assert done["prediction"] == total(counted["prediction"])


def test_46_million_tokens_are_planned(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ("experiment=pythia_1_4b_fast", "plan.rates=h200-assumed", "control=false",
                 "plan.out=plan.json")  # fmt: skip
    assert job("plan", *arguments, "plan.upsample_tokens=46000000") == 0
    assert "46,000,000 tokens, 4,259,840 of them measured" in capsys.readouterr().out
    stages = json.loads((tmp_path / "plan.json").read_text())["stages"]
    own = {stage["stage"]: stage for stage in stages if stage["part"] == "upsampled"}
    assert set(own) == {"features", "training", "prediction"}
    # scalings: 5 × 32 768 × 6 781 floats; judging more: 29 × 2^18 × 410 doubles
    assert own["training"]["host_bytes"] == 29 * 8 * 2**18 * 410
    assert own["training"]["device_bytes"] > 4 * 1.4e9 / 2  # networks are where the model is
    # every token's features once, and the measured ones' a second time
    ratio = own["prediction"]["work"]["stepping_flops"] / own["features"]["work"]["stepping_flops"]
    assert ratio == pytest.approx(46_000_000 / 4_259_840, rel=1e-3)
    assert job("plan", *arguments, "plan.upsample_tokens=1000") == 2
    assert "it counts the measured tokens too" in capsys.readouterr().err
