"""Kinds of objects of a run, recognised by name; what must hold of each, its stage declares."""

from __future__ import annotations

import re

from spectro.formats.predictors import FEATURES, HELD_OUT, PREDICTORS
from spectro.formats.product import ASSEMBLY, DEVIATIONS, HALVES, ROWS, SUMMARY_NAME
from spectro.storage.store import FENCE

CLUSTERS = r"clusters(?:-[a-z0-9]+)*(?:/half-[01])?"
"""Folders of clusters: the run's, further ones, and those of the halves of the chains."""
MAP = r"map(?:-[a-z0-9]+)*"
"""Folders of cluster maps, named as their clusters (ADR 033)."""
PAGE = r"report(?:-[a-z0-9]+)*"
"""Folders of pages, named as their clusters."""
PATTERNS = {
    "run": r"run\.yaml",
    "binding": r"binding\.json",
    "tokens": r"tokens/(tokens|more-\d+)\.json|tokens/(probe|sampling|evaluation)-\d+\.parquet",
    "pilots": r"chains/[^/]+/pilot\.json",
    "chains": r"chains/[^/]+/\d+(\.dropped)?\.json",
    "draws": r"chains/[^/]+/\d+/[^/]+\.safetensors",
    "checkpoints": rf"((chains|tiles)/[^/]+|{CLUSTERS})/state/.+",
    "tiles": r"tiles/\d+/[^/]+\.safetensors",
    "features": FEATURES,
    "predictors": PREDICTORS,
    "held_out": re.escape(HELD_OUT),
    "rows": ROWS,
    "halves": rf"{HALVES}/part-\d+\.parquet",
    "deviations": rf"{DEVIATIONS}/part-\d+\.parquet",
    "moments": rf"{ASSEMBLY}/part-\d+\.json",
    "summary": re.escape(SUMMARY_NAME),
    "lists": r"neighbours/[^/]+/((transform|recall)\.json|(pairs/\d+-\d+|lists-\d+)\.safetensors)",
    "clusters": rf"{CLUSTERS}/((clusters|members)\.parquet|cluster\.json)",
    "assigned": rf"{CLUSTERS}/assigned-[0-9a-f]{{16}}\.(parquet|json)",
    "names": rf"{CLUSTERS}/(names\.(parquet|json)|given-names\.json)",
    "page": rf"{PAGE}/(index\.html|page\.json)",
    "maps": rf"{MAP}/map\.json",
    "map_files": rf"{MAP}/(control/)?([\w.-]+\.(html|css|js|json)"
    r"|(tokens|clusters|sequences)/[\w-]+\.bin)",
    "sessions": r"sessions/[^/]+/\d+\.json",
    "failures": r"failures/[^/]+\.json",
    "logs": r"logs/.+",
    "fences": rf"{FENCE}[0-9a-f]+",
}
"""Kind → pattern of its names within a part of a run."""
_COMPILED = {kind: re.compile(pattern) for kind, pattern in PATTERNS.items()}


def page_names(clusters: str = "clusters") -> tuple[str, str]:
    """Page of a folder of clusters (`clusters`, `clusters-k30`), and its marker, put last."""
    folder = "report" + clusters.removeprefix("clusters")
    return f"{folder}/index.html", f"{folder}/page.json"


def kind_of(name: str) -> str:
    """Kind of an object by its name within its part of a run, or `unknown`."""
    for kind, pattern in _COMPILED.items():
        if pattern.fullmatch(name):
            return kind
    return "unknown"
