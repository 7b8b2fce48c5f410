"""Commands that read start at once: what they import, seen from a fresh process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli import COMMANDS

HEAVY = (
    "torch", "transformers", "ray", "numba", "sklearn", "umap", "matplotlib", "datasets", "pandas",
    "scipy", "hydra",
)  # fmt: skip
CALL = """
import sys
from jobs.cli import main
for words in {commands!r}:
    sys.argv = ["spectro", *words]
    if (status := main()) not in (0, 1):
        raise SystemExit(f"{{words}} ended with {{status}}")
found = [name for name in {heavy!r} if name in sys.modules]
raise SystemExit(f"imported: {{', '.join(found)}}" if found else 0)
"""


def light(commands: list[list[str]], heavy: tuple[str, ...] = HEAVY) -> None:
    """The commands, one after another in one process, import nothing heavy."""
    code = CALL.format(commands=commands, heavy=heavy)
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run whose tokens are there."""
    place = str(tmp_path_factory.mktemp("light") / "run")
    words = ["-m", "jobs.cli", "tokens", f"run.uri={place}", "run.num_workers=0"]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return place


def test_help() -> None:
    light([["--help"], *([name, "--help"] for name in COMMANDS)], (*HEAVY, "duckdb"))


def test_commands_that_read(run: str) -> None:
    root = str(Path(run).parent)
    light([["status", run], ["verify", run], ["runs", root], ["status", run, "--cfg", "job"]])


def test_query(run: str) -> None:
    light([["query", run]], tuple(name for name in HEAVY if name != "scipy"))
