"""Tokens assigned to clusters that are there: one table and its marker, each put once.

    <clusters>/assigned-<key>.parquet  token_id int64 · cluster_id int32 (−1: none) · share float32,
                                       in the order of the rows; ids are those of the tokens' run
    <clusters>/assigned-<key>.json     sealed: of which clusters, which tokens and how; size and
                                       checksum of the table; put last: its presence means done

The key is a digest of everything that determines the table: the clusters (cluster.json as it
stands), the rows' fingerprint, the digest of their tokens, which of them, and the settings.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from spectro.formats import fingerprint
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import ObjectInfo, Store

if TYPE_CHECKING:  # compiled by numba, which readers do without
    from spectro.clustering.assign import Assignment

PREFIX = "assigned-"
KEY_LENGTH = 16


def names(inputs: Mapping[str, Any]) -> tuple[str, str]:
    """Table and marker of what these inputs give."""
    stem = f"{PREFIX}{fingerprint.digest(inputs)[:KEY_LENGTH]}"
    return f"{stem}.parquet", f"{stem}.json"


def put_assigned(
    folder: Store,
    inputs: Mapping[str, Any],
    token_id_M: npt.NDArray[np.int64],
    found: Assignment,
    told: Mapping[str, Any],
) -> None:
    """Put the table, then its marker; what another writer put first stands if it is the same.

    Args:
        folder: of the clusters.
        inputs: what determines the table, plain values.
        token_id_M: ids of the tokens.
        found: their clusters and shares.
        told: further plain values for the marker.
    """
    table_name, marker = names(inputs)
    table = pa.table(
        {"token_id": token_id_M, "cluster_id": found.cluster_M, "share": found.share_M}
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    data = sink.getvalue()
    if folder.exists(marker) and not folder.exists(table_name):
        folder.delete(marker)  # of a table that was lost
    if not folder.put_if_absent(table_name, data) and folder.read(table_name) != data:
        folder.delete(table_name)  # of a writer that ended before the marker
        folder.put(table_name, data)
    content = {"inputs": dict(inputs), **told, "table": asdict(ObjectInfo.of(data))}
    folder.put_if_absent(marker, seal(content))


def is_assigned(folder: Store, inputs: Mapping[str, Any]) -> bool:
    """Whether table and marker of these inputs are there."""
    return all(folder.exists(name) for name in names(inputs))


def read_assigned(folder: Store, inputs: Mapping[str, Any]) -> tuple[pa.Table, dict[str, Any]]:
    """Table and marker; raises FileNotFoundError, DamagedObjectError."""
    table_name, marker = names(inputs)
    content, data = read_sealed(folder, marker), folder.read(table_name)
    ObjectInfo(**content["table"]).verify(data, f"{folder.uri}/{table_name}")
    return pq.read_table(io.BytesIO(data)), content
