"""settings.yaml of a published run: what determines its numbers, without what names a machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spectro.formats.run_dir import RunFile
from spectro.storage.credentials import redacted
from spectro.storage.locations import is_uri
from spectro.views.run_view import RunView

_PLACES = ("path", "name_or_path", "source")
"""Settings that may name a file."""


def settings_of(view: RunView) -> dict[str, Any]:
    """Inputs, fingerprint, versions and clustering as plain values; files by their last name."""
    file: RunFile = view.file
    clusters = view.clusters.provenance.get("config", {}) if view.has_clusters else None
    found = {
        "fingerprint": file.fingerprint,
        "model": view.config.get("model", {}),
        "inputs": file.inputs,
        "clusters": clusters,
        "facts": {k: v for k, v in file.facts.items() if k in ("device", "weights_sha256")},
        "versions": file.versions,
        "git_commit": file.git_commit,
    }
    return dict(redacted(_without_folders(found)))


def text_source(place: str) -> str:
    """A dataset's name as it is, of a file or URL the last name: folders name people and machines.

    A hub's name has one slash, and no file of that name is meant where it is not absolute.
    """
    if is_uri(place) or place.startswith(("/", "~", ".")) or place.count("/") > 1:
        return place.rstrip("/").rpartition("/")[2]
    return place


def _without_folders(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {str(name): _without_folders(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(item, key) for item in value]
    return text_source(value) if isinstance(value, str) and key in _PLACES else value
