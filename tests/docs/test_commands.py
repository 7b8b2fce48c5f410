"""Every command and block of code of README.md and docs/ runs, or composes where it cannot.

Runs of the pages (`runs/demo`, `<run>`, …) are copies of one tiny run; commands that measure get
its settings. What is composed alone, and why, is in `commands.ONLY_COMPOSED`.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.docs.commands import PAGES, Command, commands, python_blocks
from tests.docs.conftest import call

ALL = [command for page in PAGES for command in commands(page)]
NAMED = list({c.words: c for c in ALL if len(c.words) == 1}.values())
COMPOSED = list({c.words: c for c in ALL if len(c.words) > 1 and c.why_only_composed}.values())
RUN = [c for c in ALL if len(c.words) > 1 and not c.why_only_composed]
MEASURES = ("pipeline", "sample", "tokens", "plan")
NEW = {"runs/first"}
"""Runs that a page begins; all others are copies of the tiny run."""


def name(command: Command) -> str:
    return f"{command.page}:{command.line}:{command.words[0]}"


@pytest.fixture(scope="module")
def folder(
    request: pytest.FixtureRequest, measured: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Where the commands of one page are given, one after the other."""
    here = tmp_path_factory.mktemp(str(request.param).partition(".")[0])
    shutil.copytree(measured / "runs", here / "runs")
    shutil.copytree(measured / "runs/demo", here / "lr=3")
    (here / "named.jsonl").write_text('{"cluster_id": 0, "name": "ends of lines"}\n')
    (here / "notes.txt").write_text("Once upon a time there was a chapter.\n" * 3)
    lines = [f'{{"text": "A book of chapter {i}. {i * i} pages."}}' for i in range(300)]
    (here / "books.jsonl").write_text("\n".join(lines) + "\n")
    return here


def on_tiny_run(words: tuple[str, ...], here: Path, tiny: list[str]) -> list[str]:
    """The command with the page's runs, numbers and texts replaced by those that are here."""
    words = tuple("token=e" if word == "token=the" else word for word in words)
    for run in {m for word in words for m in re.findall(r"runs/[\w\-]+", word)} - NEW:
        if not (here / run).exists() and "render" not in words:
            shutil.copytree(here / "runs/demo", here / run)
    more = any(word.startswith("tokens=more") for word in words)
    starts = words[0] in MEASURES and not more
    if starts:
        return [*words, *tiny]
    return [re.sub(r"^(more.num_probe_sequences)=.*", r"\1=10", word) for word in words]


@pytest.mark.parametrize(
    ("folder", "command"),
    [pytest.param(c.page, c, id=name(c)) for c in RUN],
    indirect=["folder"],
    scope="module",
)
def test_command_runs(
    folder: Path, command: Command, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert call(*on_tiny_run(command.words, folder, tiny)) == 0


@pytest.mark.parametrize("command", COMPOSED, ids=name)
def test_command_composes(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    calibrated = tmp_path / "runs/calibration/experiment/calibrated.yaml"
    calibrated.parent.mkdir(parents=True)
    calibrated.write_text("# @package _global_\nseed: 1\n")
    words = list(command.words)
    if "-m" in words:
        words = [re.sub(r"^((?!run)[\w.]+=[^,\"]*),.*", r"\1", w) for w in words if w != "-m"]
    assert call(*words, "--cfg", "job") == 0
    assert yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize("command", NAMED, ids=name)
def test_named_command_is_there(command: Command) -> None:
    assert importlib.util.find_spec(f"jobs.{command.words[0]}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_of_a_page_runs(
    page: Path, measured: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(measured)
    for _, code in python_blocks(page):
        exec(compile(code, page.name, "exec"), {})
    assert not python_blocks(page) or capsys.readouterr().out
