"""Assignment of tokens to existing clusters: a table and its marker, each put once.

    <clusters>/assigned-<key>.parquet  token_id int64 · cluster_id int32 (−1: none) · share float32,
                                       in the order of the rows; ids are those of the tokens' run
    <clusters>/assigned-<key>.json     checksummed: clusters, tokens, settings; size and checksum
                                       of the table; put last

The key is a digest of all inputs of the table: cluster.json, fingerprint of the rows, digest of
their tokens, the choice of tokens, and the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.formats import fingerprint
from spectro.formats.table_objects import put_table, read_checked_table
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import ObjectInfo, Store

if TYPE_CHECKING:  # compiled by numba, which readers do without
    from spectro.clustering.assign import Assignment

PREFIX = "assigned-"
KEY_LENGTH = 16


def names(inputs: Mapping[str, Any]) -> tuple[str, str]:
    """Names of table and marker for these inputs."""
    stem = f"{PREFIX}{fingerprint.digest(inputs)[:KEY_LENGTH]}"
    return f"{stem}.parquet", f"{stem}.json"


def put_assigned(
    folder: Store,
    inputs: Mapping[str, Any],
    token_id_M: npt.NDArray[np.int64],
    found: Assignment,
    facts: Mapping[str, Any],
) -> None:
    """Put the table, then its marker with these facts.

    `inputs` are plain values that determine the table.
    """
    table_name, marker = names(inputs)
    table = pa.table(
        {"token_id": token_id_M, "cluster_id": found.cluster_M, "share": found.share_M}
    )
    if folder.exists(marker) and not folder.exists(table_name):
        folder.delete(marker)  # its table was lost
    info = put_table(folder, table_name, table)
    content = {"inputs": dict(inputs), **facts, "table": asdict(info)}
    folder.put_if_absent(marker, seal(content))


def is_assigned(folder: Store, inputs: Mapping[str, Any]) -> bool:
    """Whether table and marker exist."""
    return all(folder.exists(name) for name in names(inputs))


def read_assigned(folder: Store, inputs: Mapping[str, Any]) -> tuple[pa.Table, dict[str, Any]]:
    """Table and marker; raises FileNotFoundError, DamagedObjectError."""
    table_name, marker = names(inputs)
    content = read_sealed(folder, marker)
    return read_checked_table(folder, table_name, ObjectInfo(**content["table"])), content
