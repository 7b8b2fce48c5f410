"""Names of clusters, beside the clusters that they are of.

    <clusters>/names.parquet     a row per cluster: SCHEMA
    <clusters>/names.json        checksummed: the clusters that they are of, how many are
                                 recognisable, scores by chance; the table's checksum; put last
    <clusters>/given-names.json  checksummed: names from a file, by cluster id; replaced as a whole

Names are plain text of one line. A rule is what `analysis/naming/rules.py` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from spectro.formats.clusters.clusters import clusters_sha256
from spectro.formats.table_objects import put_table, read_checked_table
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import ObjectInfo, Store

TABLE, MARKER, GIVEN = "names.parquet", "names.json", "given-names.json"
FORMAT_VERSION = 1
CLUSTERS_SHA256 = "clusters_sha256"
"""Key of the digest of cluster.json in markers: names of other clusters are not read."""
SCHEMA = pa.schema(
    {
        "cluster_id": pa.int32(),
        "name": pa.string(),
        "rule": pa.string(),
        "beyond_chance": pa.bool_(),
        "precision": pa.float32(),
        "recall": pa.float32(),
        "f1": pa.float32(),
        "auc": pa.float32(),
        "base_rate": pa.float32(),
        "num_held_out": pa.int32(),
        "neighbourhood": pa.string(),
        "neighbourhood_f1": pa.float32(),
    }
)
"""`rule` is JSON, null where there is none; scores are of the held-out sequences, null without
members there; `beyond_chance`: its AUC is larger than that of 95 % of the random sets' names;
`neighbourhood` names the cluster with its nearest clusters, taken together."""


@dataclass(frozen=True, kw_only=True)
class StoredNames:
    """Names from rules."""

    table: pa.Table
    """SCHEMA."""
    summary: dict[str, Any]
    """How many are recognisable, and the scores of random sets."""


@dataclass(frozen=True, kw_only=True)
class GivenName:
    """A name from a file."""

    name: str
    """Plain text of one line."""
    named_by: str
    """Who or what chose it, as the file says; empty if it does not."""


def put_names(folder: Store, names: StoredNames) -> None:
    """Put the table, then its marker; names that are there are replaced."""
    folder.delete(MARKER)
    info = put_table(folder, TABLE, names.table)
    content = {
        "format": FORMAT_VERSION,
        CLUSTERS_SHA256: clusters_sha256(folder),
        "summary": names.summary,
        "objects": {TABLE: asdict(info)},
    }
    folder.put_if_absent(MARKER, seal(content))


def read_names(folder: Store) -> StoredNames | None:
    """Names of these clusters; None where there are none, or those of another version.

    Raises DamagedObjectError.
    """
    try:
        marker = read_sealed(folder, MARKER)
    except FileNotFoundError:
        return None
    expected = {"format": FORMAT_VERSION, CLUSTERS_SHA256: clusters_sha256(folder)}
    if any(marker.get(key) != value for key, value in expected.items()):
        return None
    table = read_checked_table(folder, TABLE, ObjectInfo(**marker["objects"][TABLE]))
    return StoredNames(table=table, summary=marker["summary"])


def put_given_names(folder: Store, names: Mapping[int, GivenName]) -> None:
    """Replace all names from files; none removes them."""
    folder.delete(GIVEN)
    if names:
        plain = {str(cluster): asdict(name) for cluster, name in sorted(names.items())}
        folder.put(GIVEN, seal({CLUSTERS_SHA256: clusters_sha256(folder), "names": plain}))


def read_given_names(folder: Store) -> dict[int, GivenName]:
    """Names from files, by cluster; none if they are of other clusters.

    Raises DamagedObjectError.
    """
    try:
        content = read_sealed(folder, GIVEN)
    except FileNotFoundError:
        return {}
    if content.get(CLUSTERS_SHA256) != clusters_sha256(folder):
        return {}
    return {int(cluster): GivenName(**name) for cluster, name in content["names"].items()}
