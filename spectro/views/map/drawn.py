"""Positions of a run's map for other pictures: from the map that is there, else made by the same.

Shapes: n tokens drawn, K clusters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.formats.clusters.clusters import clusters_sha256
from spectro.formats.derived_objects import TOKENS
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import DamagedObjectError, ObjectInfo, Store
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.map.columns import array_of, parts
from spectro.views.map.config import MapConfig
from spectro.views.map.data_files import MARKER
from spectro.views.map.placed import read_placed, require_whole
from spectro.views.map.write import map_folder
from spectro.views.run_view import RunView

_OF_TOKENS = ("x", "y", "cluster", "subset", "token_id")
_OF_CLUSTERS = ("x", "y", "size", "subset", "region", "top_tokens")


@dataclass(frozen=True, kw_only=True)
class DrawnMap:
    """A map as its files have it; positions are on the grid."""

    tokens: Mapping[str, npt.NDArray[Any]]
    """Columns x, y, cluster, subset, token_id; in keyed random order."""
    clusters: Mapping[str, npt.NDArray[Any]]
    """Columns x, y, size, subset, region, top_tokens."""
    regions: tuple[Mapping[str, Any], ...]
    """As in regions.json."""


def drawn_map(view: RunView, seed: int, known: Vocabulary) -> DrawnMap:
    """The map beside the clusters if it is of these, these tokens and this seed; else a new one.

    Both are laid out by the same functions; nothing is written. Raises ValueError, in one line,
    where there are no clusters or they are those of a half; DamagedObjectError.
    """
    found = stored_map(view, seed)
    if found is not None:
        return found
    placed = read_placed(view, MapConfig(seed=seed, control=False), known)
    return DrawnMap(
        tokens={name: placed.tokens.columns()[name] for name in _OF_TOKENS},
        clusters={name: placed.clusters.columns()[name] for name in _OF_CLUSTERS},
        regions=tuple(region.to_dict() for region in placed.regions),
    )


def stored_map(view: RunView, seed: int | None = None) -> DrawnMap | None:
    """The map beside the clusters, None unless it is of these, these tokens and this seed (None:
    any); errors as `drawn_map`."""
    require_whole(view)
    store = view.store.child(map_folder(view))
    marker = _marker(store, view, seed)
    return None if marker is None else _stored(store, marker)


def _marker(store: Store, view: RunView, seed: int | None) -> dict[str, Any] | None:
    """map.json, if it is of what the view shows."""
    try:
        marker = read_sealed(store, MARKER)
    except (DamagedObjectError, FileNotFoundError):
        return None
    made_of = marker.get("made_of", {})
    clusters = view.store.child(view.folder)
    same = (
        view.has_clusters
        and marker.get(TOKENS) == view.info.probe_sha256
        and made_of.get("clusters_sha256") == clusters_sha256(clusters)
        and seed in (None, made_of.get("config", {}).get("seed"))
    )
    return marker if same else None


def _stored(store: Store, marker: Mapping[str, Any]) -> DrawnMap:
    """The columns that pictures want, each file checked."""

    def read(name: str) -> bytes:
        data = store.read(name)
        ObjectInfo(**marker["objects"][name]).verify(data, f"{store.uri}/{name}")
        return data

    tokens, clusters = marker["tokens"], marker["clusters"]
    numbers = [number for number, _ in parts(tokens["count"], tokens["rows_per_file"])]
    of_tokens = {
        name: np.concatenate(
            [array_of(b"", tokens["columns"][name])]
            + [
                array_of(read(f"tokens/{name}-{number:04d}.bin"), tokens["columns"][name])
                for number in numbers
            ]
        )
        for name in _OF_TOKENS
    }
    of_clusters = {}
    for name in _OF_CLUSTERS:
        kind = clusters["columns"][name]
        dtype, shape = (kind, (-1,)) if isinstance(kind, str) else (kind[0], (-1, kind[1]))
        of_clusters[name] = array_of(read(f"clusters/{name}.bin"), dtype).reshape(shape)
    return DrawnMap(
        tokens=of_tokens,
        clusters=of_clusters,
        regions=tuple(json.loads(read("regions.json"))),
    )
