"""Who may import whom (docs/architecture.md), read from the sources."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCIENCE = ["tokens", "models", "sampling", "susceptibility", "predict", "clustering", "calibrate"]
SCIENCE += ["analysis"]
LAYERS = ["settings", *SCIENCE, "storage", "formats", "config", "work", "measure", "cluster_stage"]
LAYERS += ["planning", "upsampling", "views", "pipeline", "inspect", "result", "api"]
"""Each imports only from those before it (ADR 075)."""
NOT_YET = {
    ("config", "measure"),
    ("config", "upsampling"),
    ("config", "views"),
    ("storage", "formats"),
    ("tokens", "views"),
}
"""Imports against the order that are still to go."""
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
    module = ROOT / "spectro" / f"{part}.py"
    return [module] if module.exists() else sorted((ROOT / "spectro" / part).rglob("*.py"))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_layers_before_it(layer: str) -> None:
    allowed = set(LAYERS[: LAYERS.index(layer) + 1]) | {b for a, b in NOT_YET if a == layer}
    assert sources(layer), f"no sources of {layer}"
    for path in sources(layer):
        wrong = parts(imports(path)) - allowed
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_every_folder_has_a_layer() -> None:
    folders = {path.parent.name for path in (ROOT / "spectro").glob("*/__init__.py")}
    assert folders - set(LAYERS) == {"pretrain"}


@pytest.mark.parametrize("stage", SCIENCE)
def test_science_knows_nothing_of_ray_hydra_storage_or_the_clock(stage: str) -> None:
    for path in sources(stage):
        wrong = {name.split(".")[0] for name in imports(path)} & NOT_FOR_SCIENCE
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_packages_import_nothing() -> None:
    for path in sources("."):
        if path.name == "__init__.py" and path.parent.name != "spectro":
            assert not imports(path), path


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
