"""Experiment trackers: real ones on this machine, and such as fail, hang or are not installed."""

from __future__ import annotations

import dataclasses
import json
import logging
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record

from spectro.formats.sessions import Heartbeat, StageCount
from spectro.pipeline.run import run_pipeline
from spectro.storage.store import Store
from spectro.views.run_view import RunView
from spectro.work import tracking
from spectro.work.config import RunConfig
from spectro.work.environment import lines
from spectro.work.progress import Progress
from spectro.work.stage import Goal
from spectro.work.trackers import TRACKERS
from spectro.work.tracking import TrackedRun, numbers_of

BEAT = Heartbeat(
    session="20260101-000000-abcdef", number=0, started=100.0, time=160.0, host="node7", process=1,
    ended=None, device="cuda", num_workers=2, worker_seconds=120.0,
    stages={
        "tiles": StageCount(units=10, done=4, cost=10.0, done_cost=4.5, seconds=9.0),
        "control: pilot": StageCount(units=2, done=2, cost=2.0, done_cost=2.0, seconds=9.0),
    },
    gpu_seconds_held=7200.0, gpu_seconds_worked=3600.0, price_per_gpu_hour=3.0,
)  # fmt: skip


BLOCK = 32768


def _with(config: Any, *names: str) -> Any:
    return dataclasses.replace(config, run=dataclasses.replace(config.run, trackers=names))


def test_numbers_of_a_heartbeat() -> None:
    earlier = dataclasses.replace(BEAT, session="20251231-000000-abcdef", gpu_seconds_held=3600.0)
    found = numbers_of(BEAT, [earlier], 12.0)
    assert found["progress/tiles"] == 0.45 and found["progress/control.pilot"] == 1.0
    assert (found["units/done"], found["units/left"]) == (6, 6)
    assert found["bill/gpu_hours_held"] == 3.0 and found["bill/gpu_hours_worked"] == 2.0
    assert found["bill/cost"] == 9.0 and found["workers/waiting_seconds"] == 12.0


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trackers")


@pytest.fixture
def tracked(make_config, places: Path, monkeypatch: pytest.MonkeyPatch) -> RunView:
    """A run in all three, by two invocations; made once."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{places}/mlflow.db")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(places / "tb"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(places))
    monkeypatch.chdir(places)  # MLflow's default place for files
    config = _with(make_config(places / "run"), "mlflow", "tensorboard", "wandb")
    if not (places / "run").exists():
        run_pipeline(config, Progress(), goal=Goal.TOKENS)
        run_pipeline(config, Progress(), goal=Goal.SAMPLE)
    return RunView(config.run.uri)


def test_a_run_in_mlflow(tracked: RunView, places: Path) -> None:
    """Two invocations are one run there, whose steps go on."""
    client = mlflow.MlflowClient(f"sqlite:///{places}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'spectro'")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == "run" and found.info.status == "FINISHED"
    assert found.data.tags["spectro.ended"] == "done"
    assert found.data.params["chain.num_draws"] == "3"
    assert not any(name.startswith("run.") for name in found.data.params)
    assert found.data.metrics["progress/tiles"] == 1.0
    reliability = [v for v in tracked.summary["reliability"] if v is not None]
    median = found.data.metrics["result/median_reliability"]
    assert median == pytest.approx(np.median(reliability))
    steps = [m.step for m in client.get_metric_history(found.info.run_id, "units/done")]
    assert steps == sorted(steps) and len(steps) >= 2
    pictures = {file.path for file in client.list_artifacts(found.info.run_id, "figures")}
    assert "figures/rhat.png" in pictures
    (png,) = places.rglob("rhat.png")
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_run_in_tensorboard(tracked: RunView, places: Path) -> None:
    (folder,) = (places / "tb").iterdir()
    assert folder.name.startswith("run-")
    found = EventAccumulator(str(folder)).Reload()
    assert found.Scalars("progress/tiles")[-1].value == 1.0
    assert "figures/rhat" in found.Tags()["images"]
    ended = found.Tensors("ended/text_summary")[-1].tensor_proto.string_val[0]
    assert ended == b"done"
    settings = found.Tensors("settings/text_summary")[-1].tensor_proto.string_val[0]
    assert b"chain.num_draws: 3" in settings


def _records(data: bytes) -> Iterator[bytes]:
    """Of a file of wandb: 7 bytes, then LevelDB's log format in blocks of 32 KiB."""
    at, whole = 7, b""
    while at + 7 <= len(data):
        if (left := BLOCK - at % BLOCK) < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield whole
            whole = b""


def test_a_run_in_wandb(tracked: RunView, places: Path) -> None:
    """Offline: its own files, one for each invocation, of one id."""
    history: dict[str, Any] = {}
    config: dict[str, Any] = {}
    ids = set()
    for path in sorted(places.rglob("*.wandb")):
        for data in _records(path.read_bytes()):
            record = Record.FromString(data)
            ids |= {record.run.run_id} - {""}
            for item in record.history.item:
                history["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
            for item in record.run.config.update or record.config.update:
                config["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    assert history["progress/tiles"] == 1.0 and "figures/rhat/_type" in history
    assert config["chain.num_draws"] == 3 and len(ids) == 1


class Recorder:
    """A tracker that keeps what it receives."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def settings(self, values: Any) -> None:
        self.calls.append(("settings", dict(values)))

    def numbers(self, values: Any, step: int) -> None:
        self.calls.append(("numbers", step))

    def picture(self, name: str, png: bytes, step: int) -> None:
        self.calls.append(("picture", name))

    def close(self, line: str) -> None:
        self.calls.append(("close", line))


def _tracked(monkeypatch: pytest.MonkeyPatch, **makers: Callable[..., Any]) -> TrackedRun:
    for name, make in makers.items():
        monkeypatch.setitem(TRACKERS, name, (make, ()))
    settings = {"model": {"name_or_path": "https://a:hunter2hunter2@b/c"}, "seed": 1}
    return TrackedRun(
        tuple(makers), "s3://bucket/runs/mine", settings,
        findings=lambda: iter([{"result/tokens": 1.0}, ("rhat", b"png")]),
    )  # fmt: skip


def test_a_tracker_that_fails_is_not_called_again(monkeypatch, caplog) -> None:
    kept, opened = Recorder(), []

    class Failing(Recorder):
        def numbers(self, values: Any, step: int) -> None:
            raise RuntimeError("the disk of https://a:hunter2hunter2@b is full")

    def refuses(*arguments: str) -> None:
        raise OSError("no such server")

    tracked = _tracked(
        monkeypatch,
        bad=lambda *a: Failing(),
        absent=refuses,
        good=lambda *a: opened.append(a) or kept,
    )
    with caplog.at_level(logging.WARNING):
        tracked.observe(BEAT, 0.0)
        tracked.observe(dataclasses.replace(BEAT, time=200.0), 0.0)
        tracked.ended("done")
    assert opened == [("mine", BEAT.session, "s3://bucket/runs/mine")]
    assert [what for what, _ in kept.calls] == [
        "settings", "numbers", "numbers", "numbers", "picture", "close",
    ]  # fmt: skip
    assert kept.calls[0][1] == {
        "model.name_or_path": "https://***@b/c".replace("//", "//"),
        "seed": 1,
    }
    assert [step for what, step in kept.calls if what == "numbers"] == [60, 100, 100]
    assert caplog.text.count("is not called again") == 2 and "hunter2" not in caplog.text


def test_a_tracker_that_hangs_does_not_hold_the_run(monkeypatch, caplog) -> None:
    over = threading.Event()

    class Hanging(Recorder):
        def numbers(self, values: Any, step: int) -> None:
            over.wait()

    monkeypatch.setattr(tracking, "CLOSE_SECONDS", 0.05)
    tracked = _tracked(monkeypatch, slow=lambda *a: Hanging())
    with caplog.at_level(logging.WARNING):
        for _ in range(tracking.WAITING + 3):
            tracked.observe(BEAT, 0.0)
        tracked.ended("done")  # returns
    over.set()
    assert "a heartbeat was not sent" in caplog.text
    assert "the end of the run was not reported" in caplog.text


def test_findings_that_fail_leave_the_rest(monkeypatch, caplog) -> None:
    kept = Recorder()

    def findings() -> Iterator[Any]:
        yield "rhat", b"png"
        raise KeyError("num_tokens")

    monkeypatch.setitem(TRACKERS, "good", (lambda *a: kept, ()))
    tracked = TrackedRun(("good",), "runs/x", {}, findings=findings)
    tracked.observe(BEAT, 0.0)
    tracked.ended("done")
    assert [what for what, _ in kept.calls] == ["settings", "numbers", "picture", "close"]
    assert "findings are not shown to trackers: 'num_tokens'" in caplog.text


@pytest.mark.parametrize("line", ["stopped: SIGTERM", "failed: x: y"])
def test_no_pictures_of_what_is_not_done(monkeypatch, line: str) -> None:
    kept = Recorder()
    tracked = _tracked(monkeypatch, good=lambda *a: kept)
    tracked.observe(BEAT, 0.0)
    tracked.ended(line)
    assert [what for what, _ in kept.calls] == ["settings", "numbers", "close"]
    assert kept.calls[-1] == ("close", line)


def test_nothing_is_opened_where_nothing_is_done(monkeypatch) -> None:
    opened: list[Any] = []
    before = set(threading.enumerate())
    _tracked(monkeypatch, good=lambda *a: opened.append(a)).ended("done")
    without = TrackedRun((), "runs/x", {})
    without.observe(BEAT, 0.0)
    without.ended("done")
    assert not opened and set(threading.enumerate()) == before


def test_variables_of_trackers_are_reported(make_config, monkeypatch) -> None:
    given = {
        "MLFLOW_TRACKING_URI": "https://me:hunter2hunter2@host", "WANDB_PROJECT": "mine",
        "WANDB_API_KEY": "hunter2hunter2",
    }  # fmt: skip
    found = lines(_with(make_config(), "mlflow"), given)
    assert found == ["environment: MLFLOW_TRACKING_URI=https://***@host acts"]
    assert lines(_with(make_config(), "wandb"), given) == ["environment: WANDB_PROJECT=mine acts"]
    assert lines(make_config(), given) == []


def test_unknown_and_missing_trackers_are_refused(job, tmp_path: Path, monkeypatch, capsys) -> None:
    with pytest.raises(ValueError, match=r"'comet', expected of mlflow, tensorboard, wandb"):
        RunConfig(uri="runs/x", trackers=("comet",))
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as where it is not installed
    assert (
        job("sample", f"run.uri={tmp_path}/run", "run.trackers=[mlflow]", "run.num_workers=0") == 2
    )
    error = capsys.readouterr().err
    assert "mlflow is not installed" in error and "pip install 'spectro[mlflow]'" in error
    assert not [n for n in Store(f"{tmp_path}/run").list() if not n.startswith("logs/")]
