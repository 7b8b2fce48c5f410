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

NUM_FEATURES = 3
"""Best features of a cluster where few are shown."""


@dataclass(frozen=True, kw_only=True)
class MatchedFeature:
    """A feature for membership of one cluster."""

    feature: int
    level: float
    """Share of its strongest tokens at which it counts as active."""
    f1: float
    precision: float
    recall: float
    auc: float

    @property
    def text(self) -> str:
        """Number and level."""
        return str(self.feature) if self.level >= 1 else f"{self.feature}, top {self.level:.0%}"


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
    def autoencoder(self) -> str:
        """Library, kind and model."""
        own = self.content["autoencoder"]
        model = own["model"] or self.content["model"]["name"]
        return f"{own['layout']} {own['kind']} of {model}"

    @property
    def title(self) -> str:
        """Autoencoder and hook, in a few words."""
        return f"{self.autoencoder}, {self.content['hook']}"

    def features_of(self, cluster: int, most: int) -> tuple[MatchedFeature, ...]:
        """The best features of a cluster, best first."""
        (row,) = self.by_cluster.slice(cluster, 1).to_pylist()
        names = ("features", "level", "f1", "precision", "recall", "auc")
        found = zip(*(row[name] for name in names), strict=True)
        return tuple(
            MatchedFeature(feature=f, level=level, f1=f1, precision=p, recall=r, auc=auc)
            for f, level, f1, p, r, auc in list(found)[:most]
        )


def stored_contents(view: RunView) -> dict[str, dict[str, Any]]:
    """Markers of all matches of the clusters at a place, by name of their objects.

    That with most clusters matched beyond their y comes first, of equal ones the first by name.
    Matches of other clusters that were there before are left out. Raises DamagedObjectError.
    """
    folder = view.store.child(view.folder)
    stems = [stem for stem in matches_there(folder) if is_matched(folder, stem)]
    if not (stems and view.has_clusters):
        return {}
    clusters = clusters_sha256(folder)
    contents = {stem: read_sealed(folder, f"{stem}.json") for stem in stems}
    own = {s: c for s, c in contents.items() if c["inputs"]["clusters"] == clusters}
    return dict(sorted(own.items(), key=lambda item: (-item[1]["num_beyond_y"], item[0])))


def stored_match(view: RunView, wanted: str = "") -> StoredMatch | None:
    """A match of the clusters at a place, of several the first; None where there is none.

    Args:
        view: of the clusters.
        wanted: part of the hook, of the autoencoder's model, or of the name; empty: any.

    Raises ValueError, in one line, where there are some and none is the one wanted;
    DamagedObjectError.
    """
    own = stored_contents(view)
    if not own:
        return None
    found = [s for s, c in own.items() if wanted in f"{s} {c['hook']} {c['autoencoder']}"]
    if not found:
        there = ", ".join(sorted(f"{s} ({c['hook']})" for s, c in own.items()))
        raise ValueError(
            f"{view.uri}/{view.folder} has no match with {wanted!r}, expected one of: {there}"
        )
    return StoredMatch.read(view.store.child(view.folder), found[0])
