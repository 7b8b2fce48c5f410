"""Who may import whom (docs/architecture.md), read from the sources."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STAGES = [
    "tokens", "models", "sampling", "susceptibility", "predict", "cluster", "calibrate", "report",
]  # fmt: skip
ABOVE = ["storage", "run", "views", "api"]
SHARED = {"settings"}
"""What configurations of all stages share."""
NOT_FOR_SCIENCE = {"ray", "hydra", "omegaconf", "time", "fsspec", "rich"}


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            pytest.fail(f"{path}: relative imports hide who imports whom")
    return found


def parts(names: set[str]) -> set[str]:
    """Which parts of spectro are among the imports."""
    return {name.split(".")[1] for name in names if name.startswith("spectro.")}


def sources(part: str) -> list[Path]:
    return sorted((ROOT / "spectro" / part).rglob("*.py"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_only_stages_to_its_left(stage: str) -> None:
    allowed = set(STAGES[: STAGES.index(stage) + 1])
    assert sources(stage), f"no sources of {stage}"
    for path in sources(stage):
        wrong = parts(imports(path)) - allowed - SHARED
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


@pytest.mark.parametrize("stage", STAGES)
def test_science_knows_nothing_of_ray_hydra_storage_or_the_clock(stage: str) -> None:
    for path in sources(stage):
        wrong = {name.split(".")[0] for name in imports(path)} & NOT_FOR_SCIENCE
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_storage_does_not_know_the_run() -> None:
    for path in sources("storage"):
        names = imports(path)
        assert "run" not in parts(names), path
        assert not {name.split(".")[0] for name in names} & {"ray", "hydra", "omegaconf", "jobs"}


def test_only_jobs_know_hydra_and_nothing_imports_jobs() -> None:
    for path in sources("."):
        roots = {name.split(".")[0] for name in imports(path)}
        assert not roots & {"hydra", "omegaconf", "jobs"}, path


def test_library_does_not_print() -> None:
    for path in sources("."):
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
        assert "print" not in names, path
