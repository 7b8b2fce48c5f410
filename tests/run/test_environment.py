"""What the environment changes of a run is said; what it must not change it does not."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from spectro.config import PipelineConfig
from spectro.work import environment
from spectro.work.config import RunConfig
from spectro.work.environment import check, lines, prepare, without_clusters
from spectro.work.ray_session import ray_session
from spectro.work.threads import keep_to_threads
from tests.conftest import MakeConfig

ROOT = Path(__file__).parent.parent.parent
SHELL = {
    "RAY_ADDRESS": "127.0.0.1:6379", "RAY_NAMESPACE": "n", "RAY_num_heartbeats": "9",
    "AWS_ENDPOINT_URL": "http://me:hunter2@host:9000", "HF_HOME": "/models",
    "HTTPS_PROXY": "http://proxy:3128", "CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "7",
    "ATEN_CPU_CAPABILITY": "default", "HF_TOKEN": "hf_secret", "HOME": "/home/me",
    "AWS_SECRET_ACCESS_KEY": "hunter2hunter2",
}  # fmt: skip


def said(config: PipelineConfig, **run: Any) -> str:
    changed = dataclasses.replace(config, run=dataclasses.replace(config.run, **run))
    return "\n".join(lines(changed, SHELL, ["RAY_NAMESPACE", "RAY_ADDRESS"]))


def test_a_line_for_each_variable_that_acts(make_config: MakeConfig) -> None:
    config = make_config()
    plain = said(config)  # without Ray, on the CPU, from local files
    assert plain == "environment: ATEN_CPU_CAPABILITY=default acts"
    local = said(config, num_workers=1)
    assert "RAY_ADDRESS, RAY_NAMESPACE ignored: run.ray_address is null" in local
    assert "RAY_num_heartbeats=9 acts" in local
    joined = said(config, num_workers=1, ray_address="auto")
    assert "RAY_ADDRESS=127.0.0.1:6379 acts" in joined and "ignored" not in joined
    remote = said(config, uri="s3://bucket/run")
    assert "AWS_ENDPOINT_URL=http://***@host:9000 acts" in remote
    assert "HTTPS_PROXY=http://proxy:3128 acts" in remote and "HF_HOME" not in remote
    model = dataclasses.replace(config.model, name_or_path="EleutherAI/pythia-14m", device="auto")
    from_hub = said(dataclasses.replace(config, model=model))
    assert "HF_HOME=/models acts" in from_hub and "CUDA_VISIBLE_DEVICES=1 acts" in from_hub
    for text in (plain, local, joined, remote, from_hub):
        assert "hunter2" not in text and "hf_secret" not in text and "OMP" not in text


def test_a_variable_that_would_replace_the_precision_is_refused(make_config: MakeConfig) -> None:
    config = make_config()
    check(config, {"NVIDIA_TF32_OVERRIDE": "1"})  # not on the CPU
    on_gpu = dataclasses.replace(config, model=dataclasses.replace(config.model, device="auto"))
    check(on_gpu, {})
    with pytest.raises(ValueError, match=r"would replace model.precision=float32 on a GPU"):
        check(on_gpu, {"NVIDIA_TF32_OVERRIDE": "1"})


def test_variables_of_clusters_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "x")
    with without_clusters():
        assert "RAY_ADDRESS" not in os.environ
        os.environ["RAY_AUTH_MODE"] = "disabled"
    assert os.environ["RAY_ADDRESS"] == "x" and "RAY_AUTH_MODE" not in os.environ


def test_a_dead_cluster_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ValueError, match=r"RAY_ADDRESS='127.0.0.1:1' of the environment"):
        with ray_session(RunConfig(uri="runs/x", ray_address="auto")):
            pass


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (["spectro", "sample"], False),
        (["spectro", "sample", "run.ray_address=null"], False),
        (["spectro", "sample", "run.ray_address=auto"], True),
        (["python", "-m", "jobs.cli", "leave"], True),
    ],
)
def test_only_a_command_that_joins_a_cluster_keeps_its_variables(
    monkeypatch: pytest.MonkeyPatch, command: list[str], kept: bool
) -> None:
    monkeypatch.setattr(sys, "orig_argv", command)
    monkeypatch.setattr(environment, "SET_ASIDE", {})
    monkeypatch.setenv("RAY_USE_TLS", "1")
    prepare()
    assert ("RAY_USE_TLS" in os.environ) is kept
    environment.restore_clusters()
    assert os.environ["RAY_USE_TLS"] == "1"


def test_what_a_terminal_cannot_show_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    prepare()
    print("\u03c7 \u2423", flush=True)
    assert raw.getvalue() == b"\\u03c7 \\u2423\n"


def test_without_a_home_caches_lie_among_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    prepare()
    assert "NUMBA_CACHE_DIR" not in os.environ
    monkeypatch.setenv("HOME", "/proc/none")
    prepare()
    assert os.environ["NUMBA_CACHE_DIR"].endswith(f"spectro-caches-{os.getuid()}/numba")


def test_a_workers_arithmetic_keeps_to_its_threads() -> None:
    """BLAS of numpy too, however many OMP_NUM_THREADS or OPENBLAS_NUM_THREADS gave it."""
    assert np.eye(2).sum() == 2.0  # numpy's BLAS is loaded
    with threadpool_limits():  # puts back what was before
        keep_to_threads(1)
        blas = [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]
        assert blas and set(blas) == {1}


@pytest.mark.slow
def test_commands_run_in_a_poor_environment(
    tiny_model_dir: Path, text_dir: Path, tmp_path: Path
) -> None:
    """ASCII, no home, a dead proxy and cluster, odd TMPDIR and COLUMNS; names of any characters."""
    names = ["lr=3", "it's #1 [a] \u00e9"]
    temporary = tmp_path / "t m'p=#"
    temporary.mkdir()
    (tmp_path / names[1]).symlink_to(text_dir / "code")
    poor = {
        "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "HOME": "/proc/none",
        "TMPDIR": str(temporary), "COLUMNS": "0", "RAY_ADDRESS": "127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:9", "HYDRA_FULL_ERROR": "0", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    settings = [
        f"model.name_or_path={tiny_model_dir}", "tokens=text_folder", "run.num_workers=0",
        f"tokens.subsets.text.path={names[1]}", "tokens.context=8", "tokens.num_probe_sequences=6",
        "tokens.num_sampling_sequences=4", "tokens.num_evaluation_sequences=2",
        "chain.num_chains=2", "chain.num_draws=2", "chain.num_burnin_steps=0",
        "chain.steps_between_draws=1", "components=[l0h1]", "control=false",
    ]  # fmt: skip
    run = lambda *words: subprocess.run(  # noqa: E731
        [sys.executable, "-m", "jobs.cli", *words], cwd=tmp_path, env={**os.environ, **poor},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    done = run("sample", f"run.uri={names[0]}", *settings)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / names[0] / "run.yaml").is_file()
    done = run(
        "query", names[0], "select text, count(*) from tokens where text = '\u2423' group by 1"
    )
    assert done.returncode == 0, done.stderr
    assert "\\u2423" in done.stdout
