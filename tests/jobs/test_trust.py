"""A run of somebody else makes no command read this user's files, unless it is trusted."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import cluster, pipeline, report, resume, status, upsample
from jobs.command import given_settings, is_trusted
from jobs.stored import stored_config, stored_with, working_config
from spectro.config import PipelineConfig, to_dict
from spectro.formats import run_dir
from spectro.models.config import ModelConfig
from spectro.storage.store import Store
from spectro.tokens.config import Source, SourceKind
from spectro.work.config import RunConfig
from tests.servers.moto_server import MotoServer

MakeConfig = Callable[..., PipelineConfig]
FACTS = {
    "num_layers": 2, "num_heads": 2, "hidden_size": 16, "vocab_size": 257, "max_context": 32,
    "device": "cpu", "weights_sha256": "",
}  # fmt: skip


def written(config: PipelineConfig) -> Store:
    """The folder of a run that has been begun."""
    store = Store(config.run.uri)
    run_dir.start(store, to_dict(config), config.inputs(), FACTS)
    return store


def foreign(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    """Have the run owned by another user than the one who runs the command."""
    owner = os.stat(store.path(run_dir.NAME)).st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)


def harmless(config: PipelineConfig) -> PipelineConfig:
    """The same with a model and tokens of the hub, and settings that reach out."""
    tokens = dataclasses.replace(
        config.tokens, subsets={"web": Source(kind=SourceKind.HUB, name="some/text")}
    )
    run = dataclasses.replace(
        config.run, webhook="http://10.0.0.1/collect", ray_address="ray://10.0.0.1:10001",
        scratch="/var/lib/other", chains_per_unit=2, trackers=("mlflow",),
    )  # fmt: skip
    model = ModelConfig(name_or_path="EleutherAI/pythia-14m")
    return dataclasses.replace(config, tokens=tokens, run=run, model=model)


def ended(main: Callable[[], int], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit status of a command."""
    monkeypatch.setattr(sys, "argv", ["spectro", *arguments])
    return main()


def test_own_runs_go_on_as_they_are(make_config: MakeConfig) -> None:
    config = harmless(make_config())
    store = written(config)
    assert working_config(store.uri) == stored_config(store.uri)
    found = stored_with(RunConfig(uri=store.uri))
    assert (found.run.webhook, found.run.ray_address) == (
        "http://10.0.0.1/collect", "ray://10.0.0.1:10001",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("main", "more"),
    [
        (resume.main, []), (report.main, []), (cluster.main, []),
        (upsample.main, ["upsampled"]),
        (pipeline.main, ["tokens=more", "more.num_probe_sequences=1"]),
    ],
    ids=["resume", "report", "cluster", "upsample", "pipeline"],
)  # fmt: skip
def test_a_foreign_run_reads_no_file_that_it_names(
    make_config: MakeConfig,
    text_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    main: Callable[[], int],
    more: list[str],
) -> None:
    store = written(make_config())
    foreign(monkeypatch, store)
    place = f"run.uri={store.uri}" if main is pipeline.main else store.uri
    assert ended(main, monkeypatch, place, *more) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--trust" in line and "model.name_or_path" in line
    assert f"tokens.subsets.code.path {text_dir}/code" in line
    left = [name for name in store.list() if not name.startswith("logs/")]
    assert left == [run_dir.NAME]


@pytest.mark.parametrize("setting", ["model", "tokens"])
def test_each_setting_that_names_files_is_found(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    config = make_config()
    kept = dataclasses.replace(harmless(config), **{setting: getattr(config, setting)})
    store = written(kept)
    foreign(monkeypatch, store)
    with pytest.raises(ValueError, match=f"names {setting}"):
        working_config(store.uri)


def test_a_folder_of_the_working_directory_is_a_file_too(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name of the hub is a folder where one of that name is."""
    store = written(harmless(make_config()))
    foreign(monkeypatch, store)
    monkeypatch.chdir(tmp_path)
    assert working_config(store.uri).model.name_or_path == "EleutherAI/pythia-14m"
    for name, setting in (("some/text", "tokens"), ("EleutherAI/pythia-14m", "model")):
        (tmp_path / name).mkdir(parents=True)
        with pytest.raises(ValueError, match=f"names {setting}"):
            working_config(store.uri)


def test_a_foreign_run_reaches_nothing_else(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its webhook, trackers, Ray cluster and scratch folder are left out; those given are used."""
    store = written(harmless(make_config()))
    foreign(monkeypatch, store)
    run = working_config(store.uri).run
    assert (run.webhook, run.ray_address, run.scratch) == (None, None, None)
    assert run.trackers == () and run.chains_per_unit == 2
    with given_settings(["run.uri", "run.webhook"]):
        given = RunConfig(uri=store.uri, webhook="https://mine.example/x", ray_address="auto")
        found = stored_with(given).run
    assert (found.webhook, found.ray_address) == ("https://mine.example/x", None)


def test_a_run_in_remote_storage_is_not_own(
    make_config: MakeConfig, moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in moto_server.environment().items():
        monkeypatch.setenv(key, value)
    store = written(make_config("s3://bucket/trust"))
    with pytest.raises(ValueError, match="--trust"):
        working_config(store.uri)
    with given_settings([], trusted=True):
        assert working_config(store.uri) == stored_config(store.uri)


@pytest.mark.parametrize("word", ["--trust", "trust=true"])
def test_trust_is_given_by_the_command_line_alone(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    store = written(make_config())
    foreign(monkeypatch, store)
    seen: list[bool] = []

    def watched(job: resume.ResumeJob) -> None:
        seen.append(is_trusted())
        assert stored_with(job.run).model == stored_config(store.uri).model

    command = dataclasses.replace(resume.COMMAND, run=watched)
    assert ended(command.main, monkeypatch, store.uri, word) == 0
    assert seen == [True] and not is_trusted()


def test_commands_that_only_read_need_no_trust(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = written(make_config())
    foreign(monkeypatch, store)
    assert ended(status.main, monkeypatch, store.uri) == 0
    assert "units done" in capsys.readouterr().out
    assert ended(status.main, monkeypatch, store.uri, "--trust") == 2  # it would do nothing
