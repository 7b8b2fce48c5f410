"""Runs that exist: their configuration, read back from `run.yaml`, and what is given with it."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from spectro.clustering.config import ClusterConfig
from spectro.config import PipelineConfig
from spectro.formats import run_dir
from spectro.formats.clusters.clusters import PROVENANCE
from spectro.sampling.samplers import Gaussian
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from spectro.work.config import RunConfig

from .command import settings_given
from .errors import ConfigError
from .schema import validated
from .trust import guarded

T = TypeVar("T")
WITH_MORE = ("run", "more", "plan")
"""What may be given with tokens=more; everything else is the run's."""


def stored_config(uri: str) -> PipelineConfig:
    """The configuration of the run at a URI.

    Raises ValueError, in one line, if there is none or it cannot be understood.
    """
    return validated(PipelineConfig, dict(run_dir.require(Store(uri)).config))


def working_config(uri: str) -> PipelineConfig:
    """The same for a command that acts upon it; errors also as `trust.guarded`."""
    return guarded(Store(uri), stored_config(uri))


def requested(config: PipelineConfig) -> PipelineConfig:
    """What is to be run: with `more` the run that exists, and what is added to it.

    Raises ValueError, in one line, if there is no run, or if more than `run.*` and `more.*` is
    given with it.
    """
    if config.upsample is not None:
        raise ConfigError("upsample says what χ is predicted from: spectro upsample sets it")
    if config.more is None:
        _refuse_without_effect(config)
        return config
    other = [k for k in settings_given() if k != "tokens" and k.split(".")[0] not in WITH_MORE]
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


def _refuse_without_effect(config: PipelineConfig) -> None:
    """Raise ConfigError for a setting of the command line that does nothing in this run.

    The size of minibatches of `mala` and `reweighted` passes: one command serves every sampler, and
    the size is in no fingerprint.
    """
    reasons = config.without_effect() if isinstance(config.sampler, Gaussian) else {}
    for name in settings_given():
        if name in reasons:
            raise ConfigError(f"{name} has no effect {reasons[name]}: leave it out")


def stored_with(run: RunConfig) -> PipelineConfig:
    """The stored configuration of a run, with what the command line says of its execution.

    Errors as `working_config`.
    """
    stored = working_config(run.uri)
    given = explicit("run", stored.run, run, always=("uri", "debug"))
    cluster = stored_cluster_config(given) or stored.cluster
    return dataclasses.replace(stored, run=given, cluster=cluster)


def stored_cluster_config(run: RunConfig) -> ClusterConfig | None:
    """The settings that the run's clusters were found with, None where there are none."""
    folder = Store(run.uri).child(run.clusters)
    if not folder.exists(PROVENANCE):
        return None
    return validated(ClusterConfig, read_sealed(folder, PROVENANCE)["config"])


def explicit(group: str, stored: T, composed: T, *, always: tuple[str, ...] = ()) -> T:
    """The stored settings of a group, with those that the command line gives by name.

    Another file of the group (`cluster=standard`) replaces them all.
    """
    given = settings_given()
    if group in given:
        return composed
    names = {key.split(".")[1] for key in given if key.startswith(f"{group}.")} | set(always)
    changed: dict[str, Any] = {name: getattr(composed, name) for name in names}
    return dataclasses.replace(stored, **changed)  # type: ignore[type-var]
