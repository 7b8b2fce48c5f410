"""Tokens that were added to a run after it was clustered, and assigned to its clusters (ADR 029).

Shapes: M tokens that were added, those in no cluster among them.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from spectro.clustering.config import AssignConfig
from spectro.config import to_dict
from spectro.formats.clusters.assigned import PREFIX
from spectro.formats.clusters.clusters import PROVENANCE, clusters_sha256
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import ObjectInfo
from spectro.views.cluster_tables import array
from spectro.views.run_view import RunView

_MARKER = re.compile(rf"{PREFIX}[0-9a-f]+\.json")


@dataclass(frozen=True, kw_only=True)
class AssignedTokens:
    """What one assignment says."""

    token_id_M: npt.NDArray[np.int64]
    """Ids of the tokens that were added."""
    cluster_M: npt.NDArray[np.int32]
    """The cluster of each, −1 for none."""
    config: dict[str, Any]
    """How they were assigned."""
    sha256: str
    """Of the table."""

    def to_json(self) -> dict[str, Any]:
        """For map.json."""
        inside = int((self.cluster_M >= 0).sum())
        return {"tokens": inside, "of": int(self.cluster_M.size), "config": self.config}


def read_assigned_tokens(view: RunView) -> AssignedTokens | None:
    """The assignment of the tokens that were added to this run; None where there is none.

    Of several, made with different settings, that with the settings of `spectro assign` alone; else
    the first by name. Tokens of other runs have no place on this run's map. Raises
    DamagedObjectError.
    """
    folder = view.store.child(view.folder)
    names = [name for name in folder.list() if _MARKER.fullmatch(name)]
    if not (names and view.has_clusters):
        return None
    clusters = clusters_sha256(folder)
    num_clustered = int(read_sealed(folder, PROVENANCE)["statistics"]["num_tokens"])
    wanted = {
        "clusters": clusters,
        "tokens": view.info.probe_sha256,
        "first_token_id": num_clustered,
    }
    found = [(name, read_sealed(folder, name)) for name in names]
    found = [each for each in found if wanted.items() <= each[1]["inputs"].items()]
    if not found:
        return None
    plain = to_dict(AssignConfig())
    name, marker = min(found, key=lambda each: (each[1]["inputs"]["config"] != plain, each[0]))
    name = name.replace(".json", ".parquet")
    data = folder.read(name)
    ObjectInfo(**marker["table"]).verify(data, f"{folder.uri}/{name}")
    table = pq.read_table(io.BytesIO(data), columns=["token_id", "cluster_id"])
    return AssignedTokens(
        token_id_M=array(table["token_id"]).astype(np.int64),
        cluster_M=array(table["cluster_id"]).astype(np.int32),
        config=marker["inputs"]["config"],
        sha256=marker["table"]["sha256"],
    )
