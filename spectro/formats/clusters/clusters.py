"""Clusters on storage: two tables and a small JSON, each put once.

    <uri>/clusters.parquet  one row per cluster, largest first:
        cluster_id int32 · size int32 · conductance float64 · seed_token_id int64 ·
        centroid fixed_size_list<float32>[D] · mean_chi fixed_size_list<float32>[H] ·
        top_tokens list<int32> · top_counts list<int32> ·
        subset_names list<string> · subset_counts list<int32> ·
        purity float32 · token_purity float32 ·
        stability float32 · shared_neighbours float32 · q_value float32 (null where the halves of
        the chains were not clustered) · repeatability float32 (null with overlap: false) ·
        holds bool (null where none of these is known) ·
        neighbours list<int32> · neighbour_distances list<float32>
    <uri>/members.parquet   one row per (cluster, token), by cluster and falling rank:
        token_id int64 · cluster_id int32 · rank float32 (p / degree)
    <uri>/cluster.json      sealed: parameters, transform, counts, checksums of the two tables; put
                            last: its presence means done.

The same clusters give the same bytes. Shapes: C clusters, D dimensions, H components.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spectro.clustering.holds import HalvesEvidence, holds
from spectro.clustering.vectors.transform import Transform
from spectro.formats.shard_file import lists
from spectro.formats.table_objects import put_table, read_checked_table
from spectro.storage.checksummed_json import read_sealed, seal, with_nan
from spectro.storage.store import ObjectInfo, Store

if TYPE_CHECKING:  # compiled by numba, which readers do without
    from spectro.clustering.clusters import Clusters
    from spectro.clustering.describe import Description, TokenLabels

CLUSTERS, MEMBERS, PROVENANCE = "clusters.parquet", "members.parquet", "cluster.json"
FORMAT_VERSION = 3


@dataclass(frozen=True, kw_only=True)
class StoredClusters:
    """Tables, transform and provenance of stored clusters."""

    clusters: pa.Table
    """One row per cluster."""
    members: pa.Table
    """One row per (cluster, token)."""
    transform: Transform
    """Places new tokens in the space of the centroids."""
    provenance: dict[str, Any]
    """cluster.json as written."""


def write_clusters(
    uri: str,
    clusters: Clusters,
    description: Description,
    labels: TokenLabels,
    *,
    components: Sequence[str],
    halves: HalvesEvidence | None = None,
    extra: dict[str, Any] | None = None,
) -> None:
    """Put the two tables, then cluster.json with `extra` joined; `halves` adds evidence columns.

    Raises FileExistsError if complete clusters exist, ValueError on a wrong number of component
    names.
    """
    num_columns = clusters.mean_chi_CH.shape[1]
    if len(components) != num_columns:
        raise ValueError(
            f"found {len(components)} component names for {num_columns} columns: "
            "were the clusters made from another run?"
        )
    store = Store(uri)
    if store.exists(PROVENANCE):
        if store.exists(CLUSTERS) and store.exists(MEMBERS):
            raise FileExistsError(f"{uri}/{PROVENANCE} exists: these clusters are already written")
        store.delete(PROVENANCE)  # its tables were lost
    tables = {
        CLUSTERS: clusters_table(clusters, description, labels, components, halves),
        MEMBERS: members_table(clusters, labels),
    }
    objects = {name: asdict(put_table(store, name, table)) for name, table in tables.items()}
    provenance = _provenance(clusters, components, halves) | {"objects": objects} | (extra or {})
    store.put_if_absent(PROVENANCE, seal(provenance))


def read_clusters(uri: str) -> StoredClusters:
    """Everything that `write_clusters` wrote; raises FileNotFoundError, DamagedObjectError."""
    store = Store(uri)
    provenance = read_sealed(store, PROVENANCE)
    return StoredClusters(
        clusters=read_table(store, CLUSTERS, provenance),
        members=read_table(store, MEMBERS, provenance),
        transform=Transform.from_dict(with_nan(provenance["transform"])),
        provenance=provenance,
    )


def clusters_sha256(folder: Store) -> str:
    """Digest of a folder of clusters: of its marker, which has the checksums of the tables."""
    return ObjectInfo.of(folder.read(PROVENANCE)).sha256


def read_table(
    store: Store, name: str, provenance: dict[str, Any], columns: Sequence[str] | None = None
) -> pa.Table:
    """A table of a folder of clusters, checked against its cluster.json.

    Raises FileNotFoundError, DamagedObjectError.
    """
    info = provenance.get("objects", {}).get(name)
    return read_checked_table(store, name, info and ObjectInfo(**info), columns)


def members_of(stored: StoredClusters) -> list[NDArray[np.int64]]:
    """Token ids of every cluster."""
    cluster_id = np.asarray(stored.members["cluster_id"])
    ends = np.searchsorted(cluster_id, np.arange(stored.clusters.num_rows + 1))
    token_id = np.asarray(stored.members["token_id"]).astype(np.int64)
    return [token_id[start:end] for start, end in pairwise(ends)]


def clusters_table(
    clusters: Clusters,
    description: Description,
    labels: TokenLabels,
    components: Sequence[str],
    halves: HalvesEvidence | None = None,
) -> pa.Table:
    """The table of clusters.parquet."""
    num_clusters = len(clusters)
    names = pa.array([list(labels.subset_names)] * num_clusters, pa.list_(pa.string()))
    int_list, float_list = pa.list_(pa.int32()), pa.list_(pa.float32())
    columns = {
        "cluster_id": pa.array(np.arange(num_clusters, dtype=np.int32)),
        "size": pa.array(clusters.size_C),
        "conductance": pa.array(clusters.conductance_C),
        "seed_token_id": pa.array(labels.token_id_N[clusters.seed_C]),
        "centroid": lists(clusters.centroid_CD),
        "mean_chi": lists(clusters.mean_chi_CH),
        "top_tokens": pa.array([t.tolist() for t in description.top_tokens], int_list),
        "top_counts": pa.array([c.tolist() for c in description.top_counts], int_list),
        "subset_names": names,
        "subset_counts": pa.array(description.subset_counts_CS.tolist(), int_list),
        "purity": pa.array(description.purity_C),
        "token_purity": pa.array(description.token_purity_C),
        **_evidence_columns(clusters, halves),
        "neighbours": pa.array(description.neighbour_CM.tolist(), int_list),
        "neighbour_distances": pa.array(description.neighbour_distance_CM.tolist(), float_list),
    }
    metadata = {"spectro.components": json.dumps(list(components))}
    return pa.table(columns).replace_schema_metadata(metadata)


def members_table(clusters: Clusters, labels: TokenLabels) -> pa.Table:
    """The table of members.parquet."""
    rows = np.concatenate([*clusters.members, np.empty(0, np.int32)]).astype(np.int64)
    scores = np.concatenate([*clusters.scores, np.empty(0, np.float32)])
    cluster_ids = np.repeat(np.arange(len(clusters), dtype=np.int32), clusters.size_C)
    return pa.table(
        {"token_id": labels.token_id_N[rows], "cluster_id": cluster_ids, "rank": scores}
    )


def _evidence_columns(clusters: Clusters, halves: HalvesEvidence | None) -> dict[str, pa.Array]:
    """Columns on stability and repeatability; null where unknown."""
    unknown = pa.nulls(len(clusters), pa.float32())
    repeatability_C = clusters.repeatability_C
    found = holds(repeatability_C, halves)
    return {
        "stability": unknown if halves is None else pa.array(halves.stability_C),
        "repeatability": pa.array(repeatability_C, mask=np.isnan(repeatability_C)),
        "shared_neighbours": unknown if halves is None else pa.array(halves.shared_neighbours_C),
        "q_value": unknown if halves is None else pa.array(halves.q_value_C),
        "holds": pa.nulls(len(clusters), pa.bool_()) if found is None else pa.array(found),
    }


def _provenance(
    clusters: Clusters, components: Sequence[str], halves: HalvesEvidence | None
) -> dict[str, Any]:
    config = {
        name: value.value if isinstance(value, Enum) else value
        for name, value in asdict(clusters.config).items()
    }
    found = holds(clusters.repeatability_C, halves)
    num_clustered = int(np.count_nonzero(clusters.label_N >= 0))
    return {
        "format": FORMAT_VERSION,
        "config": config,
        "components": list(components),
        "num_clusters": len(clusters),
        "num_clustered_tokens": num_clustered,
        "num_that_hold": None if found is None else int(found.sum()),
        "shared_neighbours": None
        if halves is None
        else {
            "all_tokens": halves.shared_of_all,
            "by_chance": halves.shared_by_chance,
        },
        "statistics": clusters.statistics,
        "transform": clusters.transform.to_dict(),
    }
