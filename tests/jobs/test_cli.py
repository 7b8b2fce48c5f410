"""The `spectro` command: help, and errors of wrong commands."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from jobs.cli import main

Spectro = Callable[..., int]


@pytest.fixture
def spectro(monkeypatch: pytest.MonkeyPatch) -> Spectro:
    """The command in this process; that it starts by itself too is seen in test_bad_input."""

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["spectro", *arguments])
        return main()

    return call


def test_help_names_the_job(spectro: Spectro, capsys: pytest.CaptureFixture[str]) -> None:
    assert spectro("resume", "--help") == 0
    assert "usage: spectro resume <run>" in capsys.readouterr().out


def test_unknown_jobs(spectro: Spectro, capsys: pytest.CaptureFixture[str]) -> None:
    assert spectro("nosuchjob") == 2
    assert "no command 'nosuchjob'" in capsys.readouterr().err


def test_settings_of_an_addition_without_one(
    spectro: Spectro, capsys: pytest.CaptureFixture[str]
) -> None:
    assert spectro("sample", "more.num_probe_sequences=3") == 2
    said = capsys.readouterr().err
    assert "give tokens=more with it" in said and said.count("\n") == 1
