"""A run's folder: `run.yaml`, and the check that a folder belongs to a configuration.

run.yaml       config (resolved, replayable), inputs (what determines the numbers), their
               fingerprint, facts (the model's shape), versions, git commit, checksum
binding.json   inputs that are known only when a worker has loaded the model: digest of its weights,
               device type; put when the first is to measure, so that tokens can be made anywhere.
               EarlierPublication versions wrote them into run.yaml
"""

from __future__ import annotations

import dataclasses
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from spectro.formats import fingerprint
from spectro.formats.product import refuse_earlier_layout
from spectro.storage.checksummed_json import DIGEST, read_sealed, seal
from spectro.storage.store import FENCE, DamagedObjectError, Store

NAME, BINDING = "run.yaml", "binding.json"
BESIDE = ("logs/", "sessions/", "failures/", FENCE)
"""May exist before `run.yaml`: traces of an invocation that was refused, killed or is
concurrent."""
OF_THE_MODEL = ("model_weights", "device_type")
"""Inputs of the binding: noise differs between CPU and CUDA (ADR 003)."""
PACKAGES = ("spectro", "torch", "transformers", "numpy", "ray", "pyarrow", "numba")


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """Content of `run.yaml` and of the binding."""

    config: dict[str, Any]
    """The resolved configuration."""
    inputs: dict[str, Any]
    """What determines the numbers."""
    fingerprint: str
    """Digest of the inputs."""
    facts: dict[str, Any]
    """Shape of the model, from which the run's units follow; `device` and `weights_sha256` where
    the run is bound; empty in older runs."""
    sealed: bool
    """Whether it has a checksum; older ones do not."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of Python and of the packages."""
    git_commit: str | None = None
    """Of the sources; None outside a checkout."""


def read(store: Store) -> RunFile | None:
    """The folder's `run.yaml`, or None.

    Raises ValueError, in one line, if it is no run's or of an earlier layout; DamagedObjectError.
    """
    if not store.exists(NAME):
        return None
    refuse_earlier_layout(store)
    data = store.read(NAME)
    try:
        content = dict(yaml.safe_load(data))
        checksum = content.pop(DIGEST, None)
        found = RunFile(
            config=content["config"],
            inputs=content["inputs"],
            fingerprint=content["fingerprint"],
            facts=content.get("facts", {}),
            sealed=checksum is not None,
            versions=dict(content.get("versions") or {}),
            git_commit=content.get("git_commit"),
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{store.uri}/{NAME} is not the file of a run ({type(error).__name__}): "
            "is this folder used for something else?"
        ) from error
    if checksum is not None and checksum != fingerprint.digest(content):
        raise DamagedObjectError(
            f"{store.uri}/{NAME} is damaged: its checksum is not that of its content: was it "
            "edited by hand?"
        )
    return _bound(store, found)


def bind(store: Store, model_weights: str, device: str) -> None:
    """Record which weights a run measures and on which type of device, or check what is recorded.

    Args:
        store: of a run or of a part of one.
        model_weights: digest of the model.
        device: such as `cuda:0`.

    Raises OtherRunError if the run was measured with others.
    """
    own = dict(zip(OF_THE_MODEL, (model_weights, device.split(":")[0]), strict=True))
    inputs = require(store).inputs
    if not set(OF_THE_MODEL) <= set(inputs):
        if store.put_if_absent(BINDING, seal({**own, "device": device})):
            return
        inputs = require(store).inputs  # another driver was first: its model must be the same
    fingerprint.require_same(store.uri, {name: inputs[name] for name in OF_THE_MODEL}, own)


def _bound(store: Store, found: RunFile) -> RunFile:
    """With the binding, where there is one."""
    if set(OF_THE_MODEL) <= set(found.inputs) or not store.exists(BINDING):
        return found
    binding = read_sealed(store, BINDING)
    inputs = found.inputs | {name: binding[name] for name in OF_THE_MODEL}
    facts = {"device": binding["device"], "weights_sha256": binding["model_weights"]}
    return dataclasses.replace(
        found,
        inputs=inputs,
        fingerprint=fingerprint.digest(inputs),
        facts=found.facts | facts,
    )


def require(store: Store) -> RunFile:
    """The folder's `run.yaml`; raises ValueError if there is none."""
    found = read(store)
    if found is None:
        raise ValueError(f"{store.uri} is not the folder of a run: it has no {NAME}")
    return found


def check(store: Store, inputs: Mapping[str, Any]) -> None:
    """Raise OtherRunError for a run of other inputs, ValueError for a folder with other files.

    Inputs of the loaded model are compared only if given.
    """
    found = read(store)
    if found is not None:
        known = {k: v for k, v in found.inputs.items() if k in inputs or k not in OF_THE_MODEL}
        fingerprint.require_same(store.uri, known, inputs)
    elif any(not name.startswith(BESIDE) for name in store.list()):
        raise ValueError(
            f"{store.uri} has files but no {NAME}: give the run an empty folder (run.uri=...)"
        )


def start(
    store: Store,
    config: Mapping[str, Any],
    inputs: Mapping[str, Any],
    facts: Mapping[str, Any] | None = None,
) -> str:
    """Write `run.yaml`, or check the existing one; returns the fingerprint.

    Args:
        store: of the run.
        config: resolved.
        inputs: what determines the numbers.
        facts: plain values for readers that only a worker knows; not inputs.
    """
    check(store, inputs)
    content = {
        "config": dict(config),
        "fingerprint": fingerprint.digest(inputs),
        "inputs": dict(inputs),
        "facts": dict(facts or {}),
        "versions": {"python": platform.python_version(), **versions()},
        "git_commit": git_commit(),
    }
    sealed = {**content, DIGEST: fingerprint.digest(content)}
    data = yaml.safe_dump(sealed, sort_keys=False).encode()
    if not store.exists(NAME) and not store.put_if_absent(NAME, data):
        check(store, inputs)  # another driver was first: its run must be the same
    return fingerprint.digest(inputs)


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_commit() -> str | None:
    """Commit of the sources, None outside a checkout; `+` marks uncommitted changes."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
