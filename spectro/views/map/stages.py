"""Maps of clusters, which are made on request, as objects of a run."""

from __future__ import annotations

import re
from typing import Any

from spectro.formats.object_kinds import MAP as FOLDERS
from spectro.formats.object_kinds import PATTERNS
from spectro.storage.store import Store
from spectro.work.stage import ObjectKind, PartContents, Stage

AGAIN = "spectro map makes the map again, renew=true"


def files_of_map(contents: PartContents, name: str, content: dict[str, Any]) -> dict[str, Any]:
    """The files that a map.json names."""
    folder = name.rpartition("/")[0]
    return {f"{folder}/{file}": info for file, info in content["objects"].items()}


def leftovers_of_maps(store: Store, names: set[str]) -> set[str]:
    """Files of a map without its map.json: its writing or removal was interrupted."""
    files = {name for name in names if re.fullmatch(PATTERNS["map_files"], name)}
    files -= {name for name in files if re.fullmatch(PATTERNS["maps"], name)}
    return {name for name in files if f"{name.partition('/')[0]}/map.json" not in names}


MAP = Stage(
    name="map",
    objects=(
        ObjectKind(name="maps", read_marker=files_of_map, damaged=AGAIN),
        ObjectKind(
            name="map_files",
            named_by=(rf"({FOLDERS})/.+", r"\1/map.json"),
            has_markers=False,
            damaged=AGAIN,
            missing=AGAIN,
        ),
    ),
    completed_by=rf"{FOLDERS}/map\.json",
    leftovers=leftovers_of_maps,
)
