"""Runs that exist: their configuration, read back from `run.yaml`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from jobs.launch import ConfigError, validated
from spectro.clustering.config import ClusterConfig
from spectro.config import PipelineConfig, RunConfig
from spectro.formats import run_dir
from spectro.formats.clusters.clusters import PROVENANCE
from spectro.sampling.samplers import Gaussian
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store

T = TypeVar("T")
WITH_MORE = ("run", "more", "plan")
"""What may be given with tokens=more; everything else is the run's."""


def stored_config(uri: str) -> PipelineConfig:
    """The configuration of the run at a URI.

    Raises ValueError, in one line, if there is none or it cannot be understood.
    """
    return validated(PipelineConfig, OmegaConf.create(run_dir.require(Store(uri)).config))


def asked(config: PipelineConfig) -> PipelineConfig:
    """What is to be run: with `more` the run that is there, and what is added to it.

    Raises ValueError, in one line, if there is no run, or if more than `run.*` and `more.*` is
    given with it.
    """
    if config.upsample is not None:
        raise ConfigError("upsample says what χ is predicted from: spectro upsample sets it")
    if config.more is None:
        _refuse_idle(config)
        return config
    other = [key for key in _given() if key != "tokens" and key.split(".")[0] not in WITH_MORE]
    if other:
        raise ConfigError(
            f"tokens=more takes everything else from the run's own run.yaml; found "
            f"{', '.join(other)}: only run.* and more.* can be given with it"
        )
    store = Store(config.run.uri)
    if run_dir.read(store) is None:
        raise ConfigError(
            f"{store.uri} has no run to add tokens to (no run.yaml): give the run.uri of one, or "
            "start one without tokens=more"
        )
    return dataclasses.replace(stored_with(config.run), more=config.more)


def _refuse_idle(config: PipelineConfig) -> None:
    """Raise ConfigError for a setting of the command line that does nothing in this run.

    The size of minibatches of `mala` and `reweighted` passes: one command serves every sampler, and
    the size is in no fingerprint.
    """
    idle = config.without_effect() if isinstance(config.sampler, Gaussian) else {}
    for name in _given():
        if name in idle:
            raise ConfigError(f"{name} has no effect {idle[name]}: leave it out")


def stored_with(run: RunConfig) -> PipelineConfig:
    """The stored configuration of a run, with what the command line says of its execution."""
    stored = stored_config(run.uri)
    given = explicit("run", stored.run, run, always=("uri", "debug"))
    cluster = found_with(given) or stored.cluster
    return dataclasses.replace(stored, run=given, cluster=cluster)


def found_with(run: RunConfig) -> ClusterConfig | None:
    """The settings that the run's clusters were found with, None where there are none."""
    folder = Store(run.uri).child(run.clusters)
    if not folder.exists(PROVENANCE):
        return None
    return validated(ClusterConfig, OmegaConf.create(read_sealed(folder, PROVENANCE)["config"]))


def explicit(group: str, stored: T, composed: T, *, always: tuple[str, ...] = ()) -> T:
    """The stored settings of a group, with those that the command line gives by name.

    Another file of the group (`cluster=standard`) replaces them all.
    """
    given = _given()
    if group in given:
        return composed
    names = {key.split(".")[1] for key in given if key.startswith(f"{group}.")} | set(always)
    changed: dict[str, Any] = {name: getattr(composed, name) for name in names}
    return dataclasses.replace(stored, **changed)  # type: ignore[type-var]


def is_given(group: str, *, but: Sequence[str] = ()) -> bool:
    """Whether the command line says anything of a group, other than the settings in `but`."""
    return any(key.split(".")[0] == group and key not in but for key in _given())


def _given() -> list[str]:
    """Keys of the command line: `run.uri`, `cluster`, …; none outside a job."""
    if not HydraConfig.initialized():
        return []
    return [text.split("=")[0].lstrip("+~") for text in HydraConfig.get().overrides.task]
