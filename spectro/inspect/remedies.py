"""What to do about an object of a run that is damaged or missing, by what it is."""

from __future__ import annotations

from spectro.formats.clusters.knn_lists import RECALL, TRANSFORM
from spectro.formats.object_kinds import kind_of

BESIDE = "the assembly/part-NNNNN.json that names it; the run makes both again"
WHEN_NEEDED = "the run makes it again when it needs it, or restore it from a copy"
DELETE = "delete it; nothing depends on it"
_DAMAGED = {
    "run": "restore it from a copy",
    "tokens": "delete it and the marker that names it (tokens/tokens.json, or the addition's "
    "tokens/more-NNN.json): the same sources give the same again",
    "pilots": "delete it; the run makes it again when chains need it",
    "chains": "delete it; the run makes it again",
    "draws": "delete it and its chain's marker (chains/<group>/<chain>.json); the run makes both "
    "again",
    "checkpoints": "delete it; its unit goes on from an earlier one, or from its start",
    "tiles": "delete it; the run makes it again",
    "rows": f"delete it and {BESIDE}",
    "halves": f"delete it and {BESIDE}",
    "features": "delete it; the run makes it again when predictors need it",
    "predictors": "delete it; the run makes it again",
    "held_out": "delete it; the run makes it again",
    "deviations": f"delete it and {BESIDE}",
    "moments": "delete it and the susceptibilities/part-NNNNN.parquet of its number; the run makes "
    "both again",
    "summary": "delete it; the run makes it again",
    "assigned": "delete it and what has its name beside it; spectro assign makes both again",
    "maps": "spectro map makes the map again, renew=true",
    "map_files": "spectro map makes the map again, renew=true",
    "page": "delete the folder report/; the run makes it again",
}


def remedy(name: str, *, missing: bool) -> str:
    """What makes an object whole again, in a few words; its name is relative to its part."""
    kind = kind_of(name)
    if kind == "clusters":
        return _of_clusters(name, missing)
    if kind == "lists":
        return _of_lists(name, missing)
    if not missing:
        return _DAMAGED.get(kind, DELETE)
    return {
        **dict.fromkeys(("halves", "deviations"), f"delete {BESIDE}"),
        "assigned": "spectro assign makes it again, or delete the .json that names it",
        "map_files": _DAMAGED["map_files"],
    }.get(kind, WHEN_NEEDED)


def _of_clusters(name: str, missing: bool) -> str:
    """Clusters that are there do not ask for those of the halves: they are made with them."""
    folder, *inside = name.split("/")
    if missing and len(inside) == 1 and folder == "clusters":
        return WHEN_NEEDED
    again = "the run" if folder == "clusters" else f"the run with run.clusters={folder}"
    return f"delete the folder {folder}/; {again} makes it again"


def _of_lists(name: str, missing: bool) -> str:
    """A set whose recall is there counts as whole, one without has its other objects looked for."""
    folder, _, last = name.rpartition("/")
    when = "again when clusters need them"
    if last == TRANSFORM:
        return f"delete the folder {folder}/; the run makes its lists {when}"
    if last == RECALL or "/pairs/" in name:
        return WHEN_NEEDED if missing else "delete it; the run makes it again when it needs it"
    also = "" if missing else "it and "
    return f"delete {also}the {RECALL} beside it, if there; the run makes both {when}"
