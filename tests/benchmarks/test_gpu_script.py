"""`make gpu` from end to end in tiny form on a CPU, and without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import gpu, gpu_measures
from benchmarks.gpu_checks import Setup
from spectro.planning.rates import load_rates

ROOT = Path(__file__).parents[2]


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )


def test_a_machine_without_a_gpu_says_so_in_one_line(tmp_path: Path) -> None:
    done = script("--out", str(tmp_path), "--rates", str(tmp_path))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "no CUDA device here: nothing was checked or measured\n"
    assert not list(tmp_path.iterdir())


def test_checks_and_rates_end_in_a_plan(tmp_path: Path, job: Callable[..., int]) -> None:
    done = script(
        "--device", "cpu", "--quick", "--out", str(tmp_path), "--rates", str(tmp_path),
        "--only", "noise", "halving", "rates-14m", "rates-llama-1b",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[:4]] == [
        ["noise", "ok"],
        ["halving", "skipped"],
        ["rates-14m", "ok"],
        ["rates-llama-1b", "ok"],
    ]
    (result,) = tmp_path.glob("*.json")
    parts = json.loads(result.read_text())["parts"]
    assert parts["noise"]["status"] == "ok" and parts["halving"]["skipped"]
    (file,) = tmp_path.glob("*.yaml")
    rates = load_rates(file)
    precisions = ["float32", "tf32", "bfloat16"]
    assert rates.measured and [rate.precision for rate in rates.rates] == precisions
    for precision in ("float32", "bfloat16"):
        assert job("plan", f"plan.rates={file}", f"model.precision={precision}") == 0


def test_what_fails_is_said_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that does not end, one that breaks and one that is wrong, in processes of theirs."""
    found = {
        "noise": {"status": gpu.LATE, "seconds": 75.0},
        "memory": {"status": gpu.BROKEN, "seconds": 1.0, "why": "RuntimeError: no kernel"},
        "determinism": {"status": gpu.FAILED, "seconds": 1.0, "rows": [{"group": "l1", "ok": 0}]},
    }
    monkeypatch.setattr(gpu, "in_process", lambda name, options, seconds: found[name])
    for name, said in (
        ("noise", "out of time"),
        ("memory", "RuntimeError: no kernel"),
        ("determinism", "1 wrong, such as {'group': 'l1', 'ok': 0}"),
    ):
        assert gpu.main(["--device", "cpu", "--only", name]) == 1
        assert said in capsys.readouterr().out


def test_a_part_has_a_process_a_budget_and_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    options = gpu.options_of(["--device", "cpu", "--quick"])
    assert gpu.in_process("noise", options, 0.0)["status"] == gpu.LATE
    assert gpu.in_process("noise", options, 0.2)["status"] == gpu.LATE  # before torch is there
    options.device = "no such"
    broken = gpu.in_process("noise", options, 60.0)
    assert broken["status"] == gpu.BROKEN and "invalid choice: 'no such'" in broken["why"]


def test_a_model_that_does_not_fit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        gpu_measures.torch.cuda, "mem_get_info", lambda device: (24 * 10**9, 24 * 10**9)
    )
    found = gpu_measures.rates(Setup(device="cuda", quick=False), gpu_measures.LARGEST)
    assert found == {"skipped": "the model takes 27 GB of a card of 24 GB"}
