"""Runs of others: what their run.yaml may make a command do (ADR 092).

A command that goes on with a run reads the files that its run.yaml names, joins the Ray cluster and
tells the URL that it names. Of a run of somebody else that is done only with `--trust`: the run's
own objects are all that it may lead to.
"""

from __future__ import annotations

import dataclasses
import os

from spectro.config import PipelineConfig
from spectro.formats import run_dir
from spectro.models.config import PACKAGED
from spectro.storage.locations import path_or_name
from spectro.storage.store import Store
from spectro.tokens.config import SourceKind

from .command import is_trusted
from .errors import ConfigError


def is_own(store: Store) -> bool:
    """Whether a run lies on this machine in files of the user who runs this command."""
    if not store.is_local:
        return False
    return os.stat(store.path(run_dir.NAME)).st_uid == os.getuid()


def guarded(store: Store, config: PipelineConfig) -> PipelineConfig:
    """The stored configuration of a run as far as it may be acted upon.

    Of a run that is neither own nor trusted the Ray cluster, the webhook, the trackers and the
    scratch folder are left out. Raises ConfigError where it names other files.
    """
    if is_trusted() or is_own(store):
        return config
    if named := files_named(config):
        raise ConfigError(
            f"{store.uri} is not in files of this user on this machine, and its run.yaml names "
            f"{', '.join(named)}: such files are read only with --trust (trust=true), so that a "
            "run of somebody else reads nothing of yours"
        )
    run = dataclasses.replace(config.run, ray_address=None, webhook=None, trackers=(), scratch=None)
    return dataclasses.replace(config, run=run)


def files_named(config: PipelineConfig) -> list[str]:
    """Settings that name files outside the run, each with what it names."""
    found = {"model.name_or_path": _folder(config.model.name_or_path, tuple(PACKAGED))}
    more = config.more.subsets if config.more else {}
    for group, subsets in (("tokens", config.tokens.subsets), ("more", more)):
        for name, source in subsets.items():
            place = f"{group}.subsets.{name}"
            found[f"{place}.path"] = source.path
            if source.kind is SourceKind.HUB and source.name:
                found[f"{place}.name"] = _folder(source.name)
    if config.upsample is not None:
        found["upsample.source"] = config.upsample.source
    return [f"{setting} {path}" for setting, path in found.items() if path is not None]


def _folder(name: str, known: tuple[str, ...] = ()) -> str | None:
    """What a name of the hub means where a path of that name exists; None if none does."""
    place = path_or_name(name, "name", known)
    return place if os.path.isabs(place) else None
