"""Sweeps, runs named by their settings, and the jobs that look at runs, from the command line."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

Job = Callable[..., int]


@pytest.fixture
def arguments(tiny_model_dir: Path, text_dir: Path, tmp_path: Path) -> list[str]:
    """Of runs of a second, below `sweep`."""
    return [
        "run.root=sweep",
        "run.num_workers=0",
        f"model.name_or_path={tiny_model_dir}",
        "tokens=text_folder",
        f"tokens.subsets.text.path={text_dir / 'code'}",
        "tokens.context=8",
        "tokens.num_probe_sequences=6",
        "tokens.num_sampling_sequences=8",
        "tokens.num_evaluation_sequences=2",
        "chain.num_chains=2",
        "chain.num_draws=2",
        "chain.steps_between_draws=1",
        "chain.num_burnin_steps=0",
        "components=[l0h1,unembed]",
        "control=false",
    ]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_member_has_a_place_of_its_own(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    sweep = ["-m", "seed=1,2", "sampler=psgld"]
    assert job("sample", *sweep, *arguments) == 0
    assert names(tmp_path) == ["sweep"]  # nothing of Hydra's, no numbers
    found = names(tmp_path / "sweep")
    assert len(found) == 2
    assert all(re.fullmatch(r"model-psgld-[0-9a-f]{10}", name) for name in found)
    capsys.readouterr()
    # the whole again, with what does not change results: nothing is left to do, nothing is new
    assert job("sample", *sweep, *arguments, "run.threads_per_worker=2") == 0
    assert capsys.readouterr().out.count("nothing left to do") == 2
    assert names(tmp_path / "sweep") == found
    # one member alone is the same run
    assert job("sample", "seed=2", "sampler=psgld", "run.uri=null", *arguments) == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert names(tmp_path / "sweep") == found
    check_catalogue(job, capsys)


def check_catalogue(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the two runs above, in all formats."""
    assert job("runs", "runs.root=sweep", "runs.format=json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["settings"]["sampler.kind"] for row in rows] == ["psgld", "psgld"]
    assert {row["settings"]["seed"] for row in rows} == {"1", "2"}
    assert {row["state"] for row in rows} == {"measured"}
    assert {row["tokens"] for row in rows} == {6 * 8}
    assert {row["clusters"] for row in rows} == {None}
    assert job("runs", "runs.root=sweep", "runs.format=csv") == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(lines) == 2
    assert {line["seed"] for line in lines} == {"1", "2"}
    assert "chain.num_draws" not in lines[0]  # the same in all
    assert job("runs", "runs.root=sweep") == 0
    assert "2 runs below sweep" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("bad", "words", "status"),
    [
        ("tokens.subsets.text.path=/no/such/folder", "/no/such/folder", 2),
        ("tokens.num_probe_sequences=100000", "give more text", 1),
    ],
)
def test_the_first_that_fails_stops_the_sweep(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    bad: str,
    words: str,
    status: int,
) -> None:
    """Of what is refused before it begins nothing is left, of what fails its folder and log."""
    assert job("sample", "-m", *arguments, bad, "seed=1,2,3") == status
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2
    assert words in lines[0] and "seed=1" in lines[0]
    assert "1 of 1 runs failed, before any had done its work: the sweep was stopped" in lines[1]
    found = names(tmp_path / "sweep") if (tmp_path / "sweep").exists() else []
    assert len(found) == status % 2


def test_later_failures_are_kept_and_named(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, text_dir: Path,
    arguments: list[str],
) -> None:  # fmt: skip
    paths = f"{text_dir / 'code'},/no/such/folder,{text_dir / 'prose'}"
    assert job("tokens", "-m", *arguments, f"tokens.subsets.text.path={paths}") == 1
    out, err = capsys.readouterr()
    lines = err.strip().splitlines()
    assert len(lines) == 2
    assert "/no/such/folder" in lines[0]
    assert "1 of 3 runs failed, the others are done" in lines[1]
    assert out.count("1 units in") == 2


@pytest.mark.parametrize("extra", ["run.uri=runs/one", "++run.uri=runs/one"])
def test_one_place_for_all_members_is_refused(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], extra: str
) -> None:
    assert job("sample", "-m", "seed=1,2", *arguments, extra) == 2
    assert "give run.root=runs/one instead" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "extra",
    [
        "run.uri=s3://AKIAEXAMPLE:hunter2/abc@bucket/run",
        "run.uri='https://host/run?X-Amz-Signature=hunter2'",
        "run.root=s3://me:hunter2@bucket",
        "tokens.subsets.text.path=ftp://me:hunter2@host/text",
        "run.ray_address=ray://me:hunter2@head",
    ],
)
def test_credentials_are_refused_and_not_repeated(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], extra: str
) -> None:
    assert job("sample", *arguments, extra) == 2
    line = capsys.readouterr().err
    assert "storage takes credentials from the environment" in line
    assert "hunter2" not in line
    assert list(tmp_path.iterdir()) == []


def test_looking_at_a_run(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    assert job("sample", *arguments, "run.uri=one") == 0
    capsys.readouterr()
    assert job("status", "run.uri=one") == 0
    assert "measured" in capsys.readouterr().out
    assert job("status", "run.uri=one", "status.format=json", "status.every_seconds=60") == 0
    status = json.loads(capsys.readouterr().out)
    # transform, lists, recall and clusters, of all chains and of both halves; the page
    assert (status["state"], status["units"] - status["done"]) == ("measured", 13)
    assert job("verify", "run.uri=one") == 0
    assert "what is there is whole" in capsys.readouterr().out
    rows = tmp_path / "one" / "susceptibilities" / "part-00000.parquet"
    rows.write_bytes(rows.read_bytes()[:-1])
    assert job("verify", "run.uri=one") == 1
    out, err = capsys.readouterr()
    assert "damaged: susceptibilities/part-00000.parquet" in out
    assert len(err.strip().splitlines()) == 1
    (tmp_path / "one" / "run.yaml").write_text("config: {}")
    assert job("runs", "runs.root=.") == 0
    assert "unreadable" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["status", "verify", "runs"])
def test_nothing_there(job: Job, capsys: pytest.CaptureFixture[str], name: str) -> None:
    place = "runs.root=nowhere" if name == "runs" else "run.uri=nowhere"
    assert job(name, place) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "nowhere" in lines[0]


@pytest.mark.parametrize("name", ["status", "verify", "runs", "cluster", "compare", "assign"])
def test_help(job: Job, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert job(name, "--help") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: spectro {name} ")
    assert "runs/demo" in text or "runs.root" in text
