"""Commands that read start at once: what they import, seen from a fresh process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from jobs.cli import COMMANDS
from tests.jobs.test_bad_input import Job, arguments  # noqa: F401

HEAVY = (
    "torch", "transformers", "ray", "numba", "sklearn", "umap", "matplotlib", "datasets", "scipy",
    "hydra",
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


def called(code: str) -> subprocess.CompletedProcess[str]:
    """The code in a process of the repository's root, where `jobs` is found."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )


def require_light(commands: list[list[str]], heavy: tuple[str, ...] = HEAVY) -> None:
    """The commands, one after another in one process, import nothing heavy."""
    code = CALL.format(commands=commands, heavy=heavy)
    made = called(code)
    assert made.returncode == 0, made.stderr


def test_help() -> None:
    commands = [["--help"], *([name, "--help"] for name in COMMANDS)]
    require_light(commands, (*HEAVY, "duckdb"))


def test_commands_that_read(job: Job, arguments: list[str], tmp_path: Path) -> None:  # noqa: F811
    """A run whose tokens are there; `query` is refused, once all that it needs is imported."""
    assert job("tokens", *arguments) == 0
    run, root = str(tmp_path / "run"), str(tmp_path)
    require_light(
        [["status", run], ["verify", run], ["runs", root], ["status", run, "--cfg", "job"]],
        (*HEAVY, "duckdb"),
    )
    query = CALL.replace("(0, 1)", "(2,)").format(commands=[["query", run]], heavy=HEAVY)
    made = called(query)
    assert made.returncode == 0 and "no susceptibilities" in made.stderr, made.stderr
