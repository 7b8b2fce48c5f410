"""`spectro plan` as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Job = Callable[..., int]
SMALL = ("tokens.context=16", "chain.num_draws=2", "plan.rates=h200-assumed")


def test_without_weights_a_published_model_is_planned(job: Job, capsys, tmp_path: Path) -> None:
    status = job(
        "plan",
        "experiment=pythia_1_4b",
        "control=independent",
        "plan.rates=h200-assumed",
        "plan.num_devices=16",
        "plan.out=plan.json",
    )
    out = capsys.readouterr().out
    assert status == 0
    assert "ASSUMED, NOT MEASURED" in out
    assert "410 components" in out
    for stage in ("tokens", "pilot", "chains", "tiles", "assembly", "control"):
        assert stage in out
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["totals"]["stepping_flops"] > 0 < plan["totals"]["device_seconds"]
    assert plan["device"]["rates"]["measured"] is False
    assert not (tmp_path / "runs").exists()


def test_only_the_config_of_a_checkpoint_is_read(
    job: Job, capsys, tmp_path: Path, tiny_model_dir: Path
) -> None:
    (tmp_path / "shape").mkdir()
    (tmp_path / "shape" / "config.json").write_bytes((tiny_model_dir / "config.json").read_bytes())
    arguments = (*SMALL, "model.name_or_path=shape")
    assert job("plan", *arguments) == 0
    assert "2 layers, d 16" in capsys.readouterr().out


def test_this_device_is_measured(job: Job, capsys, tmp_path: Path, tiny_model_dir: Path) -> None:
    arguments = (
        f"model.name_or_path={tiny_model_dir}", "model.device=cpu", "tokens.context=16",
        "chain.num_draws=2", "plan.rates_out=rates.yaml",
    )  # fmt: skip
    assert job("plan", *arguments) == 0
    assert "- rates: measured on" in capsys.readouterr().out
    assert job("plan", *arguments[:-1], "plan.rates=rates.yaml") == 0


def test_clusters_of_any_size_are_planned(job: Job, capsys, tmp_path: Path) -> None:
    arguments = (
        "experiment=pythia_1_4b_fast", "plan.rates=h200-assumed",
        "plan.cluster_tokens=46000000", "plan.cluster_columns=64", "plan.nodes=8", "plan.cores=32",
        "plan.out=plan.json",
    )  # fmt: skip
    assert job("plan", *arguments) == 0
    out = capsys.readouterr().out
    assert "clusters: 46 M tokens, 64 columns, k 45, 6 times" in out
    assert "8 × a machine of 32 cores, no GPU" in out
    for stage in ("transform", "pairs of blocks", "merging", "recall", "graph", "seeds", "tables"):
        assert stage in out
    assert "rates of clusters: " in out
    clusters = json.loads((tmp_path / "plan.json").read_text())["clusters"]
    pairs = next(s for s in clusters["stages"] if "pairs" in s["stage"])
    assert (clusters["num_tokens"], pairs["num_units"]) == (46_000_000, 6 * 23 * 22 // 2)
    assert 0 < clusters["finish_seconds"] < clusters["core_seconds"]
    assert job("plan", *arguments[:2], "plan.cores=1", "control=false", "plan.out=plan.json") == 0
    clusters = json.loads((tmp_path / "plan.json").read_text())["clusters"]
    own = (clusters["num_tokens"], clusters["num_columns"], clusters["num_clusterings"])
    assert own == (4_259_840, 410, 3)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("plan.nodes=0", "plan.nodes must be at least 1"),
        ("plan.cores=0", "plan.cores must be at least 1"),
        ("plan.cluster_columns=0", "plan.cluster_columns must be at least 1"),
        ("plan.cluster_tokens=20", "k = 20 needs more than 20 tokens, found 20"),
        ("plan.cluster_rates=h200-assumed", "expected the figures of ClusterRates"),
        ("plan.rates=nowhere.yaml", "nowhere.yaml does not exist"),
        ("plan.num_devices=0", "plan.num_devices must be at least 1"),
        ("plan.steps_between_draws=0", "plan.steps_between_draws must be at least 1"),
        ("model.name_or_path=someone/else", "neither a folder"),
        ("plan.bill=true", "run.yaml"),
        ("tokens.context=100000", "contexts of at most"),
        ("plan.num_device=2", "did you mean num_devices?"),
    ],
)
def test_wrong_input_is_one_line(job: Job, capsys, argument: str, message: str) -> None:
    assert (
        job("plan", *(a for a in SMALL if a.split("=")[0] != argument.split("=")[0]), argument) == 2
    )
    found = capsys.readouterr().err.strip()
    assert message in found
    assert "\n" not in found
