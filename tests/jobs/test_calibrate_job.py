"""`spectro calibrate` as a person calls it, and the experiment that it writes, which runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from jobs.stored import stored_config
from spectro.config import to_dict
from spectro.formats import tokens
from spectro.planning.plan import make_plan
from spectro.planning.rates import load_rates
from spectro.storage.store import Store

Job = Callable[..., int]
RATES = """
device: a made-up device
measured: false
assumption: made up
rates: [{precision: float32, scoring_tflops: 1.0e-4, stepping_tflops: 1.0e-4}]
storage: {read_bytes_per_second: 1.0e+12, written_bytes_per_second: 1.0e+12}
"""


@pytest.fixture
def arguments(tiny_model_dir: Path, text_dir: Path, tmp_path: Path) -> list[str]:
    """A pilot of 512 tokens of the tiny model, and a device whose rates are known."""
    (tmp_path / "rates.yaml").write_text(RATES)
    return [
        f"model.name_or_path={tiny_model_dir}", "model.device=cpu", "tokens=text_folder",
        f"tokens.subsets.text.path={text_dir / 'prose'}", "tokens.context=16",
        "tokens.num_sampling_sequences=4", "tokens.num_evaluation_sequences=4",
        "chain.batch_size=2", "components=[l0h0,l0h1,l1*,embed]", "control=false",
        "cluster.num_neighbours=5", "cluster.min_size=4", "calibrate.rates=rates.yaml",
        "calibrate.gammas=[3000]", "calibrate.nbetas=[0,1]", "calibrate.num_tokens=512",
        "calibrate.min_tokens=32", "out=found",
    ]  # fmt: skip


def test_the_experiment_runs_and_costs_what_the_budget_pays(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    assert job("calibrate", *arguments, "calibrate.budget_gpu_hours=0.002") == 0
    out = capsys.readouterr().out
    plain = json.loads((tmp_path / "found" / "calibration.json").read_text())
    assert ("raise calibrate.min_draws" in out) == (_num_draws(plain["config"]) == 4)
    assert "chosen for" in out and "--config-dir found experiment=calibrated" in out
    with (tmp_path / "found" / "cells.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 3 * 3  # nβ × nested sets of tokens × sizes of sets of draws
    assert {line["num_tokens"] for line in lines} == {"128", "256", "512"}
    assert (tmp_path / "found" / "calibration.svg").read_bytes().startswith(b"<?xml")

    given = ("--config-dir", "found", "experiment=calibrated", "run.uri=run", "run.num_workers=0")
    assert job("sample", *given) == 0
    config = stored_config(str(tmp_path / "run"))
    chosen = plain["config"]
    assert to_dict(config.sampler) == chosen["sampler"]
    assert to_dict(config.chain) == chosen["chain"]
    assert config.estimator.kind == "restricted"
    assert config.components == ["l0h0", "l0h1", "l1*", "embed"]
    best = next(s for s in plain["splits"] if s["num_draws"] == _num_draws(chosen))
    assert chosen["tokens"]["num_probe_sequences"] == best["num_sequences"]
    counted = tokens.read_info(Store(str(tmp_path / "run"))).splits["probe"].counts
    assert counted == {"text": best["num_sequences"]}
    assert best["num_tokens"] == 16 * best["num_sequences"]
    assert _planned_seconds(tmp_path, config) == pytest.approx(best["cost_seconds"], rel=1e-3)
    one_more = best["cost_seconds"] * (1 + 1 / best["num_sequences"])
    assert best["cost_seconds"] <= 7.2 < one_more * 1.001  # 0.002 hours, to the last sequence


def _num_draws(config: dict) -> int:
    return config["chain"]["num_chains"] * config["chain"]["num_draws"]


def _planned_seconds(folder: Path, config) -> float:
    from spectro.planning.config import Assumptions
    from spectro.planning.device_costs import Device
    from spectro.planning.model_sizes import size_of_checkpoint

    device = Device(rates=load_rates(folder / "rates.yaml"), precision="float32", num_devices=1)
    size = size_of_checkpoint(config.model)
    return make_plan(config, size, device, Assumptions(chain_components=[])).device_seconds


def test_minutes_are_counted_at_the_pilots_own_rate(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    few = [a for a in arguments if "nbetas" not in a and "rates" not in a]
    given = ["calibrate.budget_minutes=600", "calibrate.nbetas=[0]", "calibrate.num_tokens=256"]
    given.append("calibrate.max_tokens=320")
    assert job("calibrate", *few, *given) == 0
    assert "the pilot's own rate on" in capsys.readouterr().out
    plain = json.loads((tmp_path / "found" / "calibration.json").read_text())
    assert plain["rates"]["measured"] is True
    assert {split["num_tokens"] for split in plain["splits"]} == {320}  # of one context of 16 each
    assert plain["config"]["sampler"] == {"kind": "gaussian", "gamma": 3000.0, "antithetic": True}
    text = (tmp_path / "found" / "experiment" / "calibrated.yaml").read_text()
    assert text.startswith("# @package _global_\n# chosen for")
    assert {"override /sampler": "gaussian"} in yaml.safe_load(text)["defaults"]


CHAINS = (
    "sampler=psgld", "chain.num_chains=2", "chain.num_draws=8", "chain.num_burnin_steps=4",
    "chain.steps_between_draws=2", "calibrate.nbetas=[1]", "calibrate.budget_gpu_hours=0.02",
)  # fmt: skip


def test_short_chains_give_every_step_a_verdict(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    few = [a for a in arguments if "nbetas" not in a]
    assert job("calibrate", *few, *CHAINS, "calibrate.step_sizes=[1e-7,6e-5,1e-3]") == 0
    cells = json.loads((tmp_path / "found" / "chains.json").read_text())["cells"]
    assert "left out: step size 0.001" in capsys.readouterr().out  # ε·D·γ is above 4
    assert [cell["sampler"]["step_size"] for cell in cells] == [1e-7, 6e-5]
    slow, good = cells
    assert set(good["verdicts"]) == {"l0h0", "l0h1", "l1h0", "l1h1", "l1mlp", "embed"}
    assert slow["num_wrong"] == 6 and good["num_wrong"] == 0  # 22 steps of 1e-7 only rise
    text = (tmp_path / "found" / "experiment" / "calibrated.yaml").read_text()
    written = yaml.safe_load(text)
    assert written["sampler"]["step_size"] == 6e-5 and written["sampler"]["gamma"] == 3000
    assert written["chain"]["num_draws"] == 8
    assert written["tokens"]["num_probe_sequences"] >= 2
    given = ("--config-dir", "found", "experiment=calibrated", "plan.rates=rates.yaml")
    assert job("plan", *given) == 0


def test_a_gamma_that_destroys_the_model_is_said(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of the embedded model: a random one has learnt nothing that could be destroyed."""
    given = ("components=[unembed]", "calibrate.gammas=[0.1,1]", "calibrate.budget_minutes=1")
    assert job("calibrate", *given, "calibrate.num_tokens=1024") == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "every gamma of calibrate.gammas destroys the model: at 1 the draws of unembed" in line
    assert not (tmp_path / "runs").exists()


WRONG = [
    (["calibrate.step_sizes=[1e-3]"], "needs a sampler with a step"),
    (["sampler=psgld", "calibrate.step_sizes=[1]"], "the Euler step diverges"),
    (["calibrate.num_draws=2"], "calibrate.num_draws must be at least 8 and a multiple of 4"),
    (["calibrate.nbetas=[1e6]"], "every nbeta of calibrate.nbetas needs chains (at gamma 3000"),
    (["calibrate.budget_gpu_hours=1e-9"], "pays fewer than 32 tokens with 4 draws each"),
    (["calibrate.budget_gpu_hours=null"], "give either calibrate.budget_minutes"),
    (["calibrate.budget_minutes=1"], "give either calibrate.budget_minutes"),
    (["calibrate.gammas=[]"], "calibrate.gammas needs finite numbers above 0, found []"),
    (["calibrate.min_tokens=64", "calibrate.max_tokens=32"], "max_tokens must be at least calib"),
    (["calibrate.rates=nowhere"], "does not exist: name a file of rates"),
]


@pytest.mark.parametrize(("extra", "message"), WRONG)
def test_what_cannot_be_is_one_line(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    extra: list[str],
    message: str,
) -> None:
    key = extra[0].partition("=")[0]
    given = [a for a in arguments if not a.startswith(key)]
    hours = [] if key == "calibrate.budget_gpu_hours" else ["calibrate.budget_gpu_hours=0.02"]
    assert job("calibrate", *given, *hours, *extra) == 2
    line = capsys.readouterr().err.strip()
    assert message in line and "\n" not in line.split("calibrate: ", 1)[1]
    assert not (tmp_path / "found").exists()


def test_help_has_examples(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    assert job("calibrate", "--help") == 0
    assert "spectro pipeline --config-dir runs/calibration" in capsys.readouterr().out
