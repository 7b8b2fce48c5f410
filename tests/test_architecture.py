"""Who may import whom (docs/architecture.md), read from the sources."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCIENCE = ["tokens", "models", "sampling", "susceptibility", "predict", "clustering", "calibrate"]
SCIENCE += ["analysis", "autoencoders"]
LAYERS = ["extras", "settings", *SCIENCE, "storage", "formats", "config", "work", "measure"]
LAYERS += ["cluster_stage", "planning", "upsampling", "views", "pipeline", "inspect"]
LAYERS += ["result", "api"]
"""Each imports only from those before it (ADR 075)."""
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
    """Which parts of spectro are among the imports; `config` modules may be imported anywhere."""
    own = [name.split(".") for name in names if name.startswith("spectro.")]
    return {name[1] for name in own if "config" not in name[2:]}


def sources(part: str) -> list[Path]:
    module = ROOT / "spectro" / f"{part}.py"
    return [module] if module.exists() else sorted((ROOT / "spectro" / part).rglob("*.py"))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_layers_before_it(layer: str) -> None:
    allowed = set(LAYERS[: LAYERS.index(layer) + 1])
    assert sources(layer), f"no sources of {layer}"
    for path in sources(layer):
        names = imports(path)
        if layer == "config":  # composes the dataclasses of all folders, from modules of this name
            names = {name for name in names if ".config" not in name}
        wrong = parts(names) - allowed
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


CONFIGS = sorted((ROOT / "spectro").glob("*/**/config.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_a_config_module_imports_only_config_modules(path: Path) -> None:
    """So that a configuration is read without the code that it configures (ADR 076)."""
    own = {name for name in imports(path) if name.startswith("spectro.")}
    light = (  # these load nothing
        "spectro.settings",
        "spectro.analysis",
        "spectro.storage.credentials",
        "spectro.storage.locations",
    )
    wrong = {n for n in own if ".config" not in n and not n.startswith(light)}
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


def test_no_class_name_is_defined_twice() -> None:
    defined: dict[str, list[str]] = {}
    for path in [*sources("."), *sorted((ROOT / "jobs").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                defined.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in defined.items() if len(paths) > 1} == {}
