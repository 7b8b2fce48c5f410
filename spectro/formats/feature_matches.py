"""Clusters matched to the features of an autoencoder: two tables and their marker, each put once.

    <clusters>/features-<key>.parquet      a row per cluster: cluster_id int32 · size int32 (tokens
                                           that were read) · features list<int32> (best first) ·
                                           level (share of a feature's strongest tokens), f1,
                                           precision, recall, auc list<float32> ·
                                           num_active list<int64> (at that level) · null_f1 float32
                                           (mean of the null) · q_value float32 · y_f1 float32 ·
                                           cell_f1 float32
    <clusters>/features-<key>-all.parquet  a row per feature: feature int32 · num_active int64 ·
                                           cluster_id int32 (of largest F1, −1: none) · f1 float32
    <clusters>/features-<key>.json         checksummed: inputs, reconstruction, shares, curves; size
                                           and checksum of the tables; put last

The key is a digest of the inputs: encoding, clusters, tokens, settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from spectro.formats import fingerprint
from spectro.formats.table_objects import put_table, read_checked_table
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import ObjectInfo, Store

PREFIX = "features-"
KEY_LENGTH = 16
_MARKER = re.compile(rf"{PREFIX}[0-9a-f]{{{KEY_LENGTH}}}\.json")


def stem_of(inputs: Mapping[str, Any]) -> str:
    """Name of a match without ending."""
    return f"{PREFIX}{fingerprint.digest(inputs)[:KEY_LENGTH]}"


def table_names(stem: str) -> tuple[str, str]:
    """Names of the tables by cluster and by feature."""
    return f"{stem}.parquet", f"{stem}-all.parquet"


def put_matches(
    folder: Store, stem: str, tables: tuple[pa.Table, pa.Table], content: Mapping[str, Any]
) -> None:
    """Put both tables, then the marker."""
    names = table_names(stem)
    marker = f"{stem}.json"
    if folder.exists(marker) and not all(folder.exists(name) for name in names):
        folder.delete(marker)  # a table was lost
    infos = {n: asdict(put_table(folder, n, t)) for n, t in zip(names, tables, strict=True)}
    folder.put_if_absent(marker, seal({**content, "objects": infos}))


def is_matched(folder: Store, stem: str) -> bool:
    """Whether marker and tables exist."""
    return all(folder.exists(name) for name in (f"{stem}.json", *table_names(stem)))


def read_matches(folder: Store, stem: str) -> tuple[pa.Table, pa.Table, dict[str, Any]]:
    """Tables by cluster and by feature, and the marker.

    Raises FileNotFoundError, DamagedObjectError.
    """
    content = read_sealed(folder, f"{stem}.json")
    by_cluster, by_feature = (
        read_checked_table(folder, name, ObjectInfo(**content["objects"][name]))
        for name in table_names(stem)
    )
    return by_cluster, by_feature, content


def matches_there(folder: Store) -> list[str]:
    """Stems of all matches in a folder of clusters."""
    return sorted(n.removesuffix(".json") for n in folder.list() if _MARKER.fullmatch(n))
