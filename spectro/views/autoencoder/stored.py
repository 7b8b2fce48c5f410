"""Matches of clusters to features that are in storage, for everything that shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from spectro.formats.clusters.clusters import clusters_sha256
from spectro.formats.feature_matches import is_matched, matches_there, read_matches
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from spectro.views.run_view import RunView


@dataclass(frozen=True, kw_only=True)
class StoredMatch:
    """One match of the clusters at a place."""

    stem: str
    """Name of its objects."""
    by_cluster: pa.Table
    by_feature: pa.Table
    content: dict[str, Any]
    """The marker."""

    @classmethod
    def read(cls, folder: Store, stem: str) -> StoredMatch:
        """Of a folder of clusters; raises FileNotFoundError, DamagedObjectError."""
        by_cluster, by_feature, content = read_matches(folder, stem)
        return cls(stem=stem, by_cluster=by_cluster, by_feature=by_feature, content=content)

    @property
    def threshold(self) -> float:
        """Least F1 of a match."""
        return float(self.content["match"]["threshold"])

    @property
    def title(self) -> str:
        """Autoencoder and hook, in a few words."""
        own = self.content["autoencoder"]
        model = own["model"] or self.content["model"]["name"]
        return f"{own['layout']} {own['kind']} of {model}, {self.content['hook']}"


def stored_match(view: RunView, wanted: str = "") -> StoredMatch | None:
    """A match of the clusters at a place, None where there is none.

    Of several: that with most clusters matched beyond their y, of equal ones the first by name.

    Args:
        view: of the clusters.
        wanted: part of the hook, of the autoencoder's model, or of the name; empty: any.

    Raises ValueError, in one line, where there are some and none is the one wanted;
    DamagedObjectError.
    """
    folder = view.store.child(view.folder)
    stems = [stem for stem in matches_there(folder) if is_matched(folder, stem)]
    if not (stems and view.has_clusters):
        return None
    clusters = clusters_sha256(folder)
    contents = {stem: read_sealed(folder, f"{stem}.json") for stem in stems}
    own = {s: c for s, c in contents.items() if c["inputs"]["clusters"] == clusters}
    found = {s: c for s, c in own.items() if wanted in f"{s} {c['hook']} {c['autoencoder']}"}
    if wanted and not found:
        there = ", ".join(sorted(f"{s} ({c['hook']})" for s, c in own.items())) or "none"
        raise ValueError(
            f"{view.uri}/{view.folder} has no match with {wanted!r}, expected one of: {there}"
        )
    if not found:
        return None
    stem = min(found, key=lambda s: (-found[s]["num_beyond_y"], s))
    return StoredMatch.read(folder, stem)
