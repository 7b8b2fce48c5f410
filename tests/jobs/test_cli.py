"""The `spectro` command: what it makes of its arguments before a job sees them."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from jobs.cli import _ordered, main

Spectro = Callable[..., int]


@pytest.fixture
def spectro(monkeypatch: pytest.MonkeyPatch) -> Spectro:
    """The command in this process; that it starts by itself too is seen in test_bad_input."""

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["spectro", *arguments])
        return main()

    return call


@pytest.mark.parametrize(
    ("job", "given", "seen"),
    [
        ("verify", ["s3://bucket/run"], ["run.uri=s3://bucket/run"]),
        (
            "status",
            ["runs/demo", "status.format=json"],
            ["run.uri=runs/demo", "status.format=json"],
        ),
        ("runs", ["/data/sweep"], ["runs.root=/data/sweep"]),
        ("verify", ["run.uri=a"], ["run.uri=a"]),
        ("verify", ["--help"], ["--help"]),
        ("resume", ["+run.uri=a"], ["+run.uri=a"]),
        ("sample", ["seed=1", "-m", "run.root=a"], ["-m", "seed=1", "run.root=a"]),
        ("sample", ["a/b"], ["a/b"]),
        (
            "compare",
            ["runs/seed=1", "s3://b/c", "compare.out=o.csv"],
            ['compare.places=["runs/seed=1","s3://b/c"]', "compare.out=o.csv"],
        ),
        ("compare", ["--help"], ["--help"]),
        ("text", ["runs/a", "sequence=3"], ["run.uri=runs/a", "sequence=3"]),
        (
            "text",
            ["runs/a", "a b.txt", "out=o.svg"],
            ["run.uri=runs/a", 'file="a b.txt"', "out=o.svg"],
        ),
        ("text", ["--help"], ["--help"]),
        ("map", ["runs/a", "serve=0"], ["run.uri=runs/a", "serve=0"]),
        ("figure", ["runs/a", "kind=axes"], ["run.uri=runs/a", "kind=axes"]),
        (
            "figure",
            ["runs/a", "kind=card", "cluster=3"],
            ["run.uri=runs/a", "kind=card", "cluster_id=3"],
        ),
        ("matrix", ["s3://b/r"], ["run.uri=s3://b/r"]),
        (
            "across",
            ["runs/seed=1", "b", "token=a,{'=$\\", "seed=2"],
            ['runs=["runs/seed=1","b"]', 'token="a,{\'=$\\\\"', "seed=2"],
        ),
        ("across", ["--help"], ["--help"]),
        ("assign", ["runs/a", "from=runs/b"], ["run.uri=runs/a", "source=runs/b"]),
    ],
)
def test_arguments(job: str, given: list[str], seen: list[str]) -> None:
    assert _ordered(job, given) == seen


def test_help_names_the_job(spectro: Spectro, capsys: pytest.CaptureFixture[str]) -> None:
    assert spectro("resume", "--help") == 0
    assert "python -m jobs.resume" in capsys.readouterr().out


def test_unknown_jobs(spectro: Spectro, capsys: pytest.CaptureFixture[str]) -> None:
    assert spectro("nosuchjob") == 2
    assert "no job 'nosuchjob'" in capsys.readouterr().err


def test_settings_of_an_addition_without_one(
    spectro: Spectro, capsys: pytest.CaptureFixture[str]
) -> None:
    assert spectro("sample", "more.num_probe_sequences=3") == 2
    said = capsys.readouterr().err
    assert "give tokens=more with it" in said and said.count("\n") == 1
