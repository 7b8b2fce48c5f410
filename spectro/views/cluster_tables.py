"""The tables of stored clusters as plain arrays, for everything that shows them.

A cluster's id is its row in `clusters.parquet`, largest first; members are sorted by cluster
and falling rank. Shapes: K clusters, M members of all together, P subsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.views.map.columns import first_of_each, narrow
from spectro.views.run_view import RunView


def members(
    view: RunView, table: pa.Table | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Token id and cluster of every member, as they are stored.

    `table` is members.parquet, where it is read without the clusters. Raises ValueError where a
    member is no token of the run.
    """
    table = view.clusters.members if table is None else table
    token_id_M = array(table["token_id"]).astype(np.int64)
    if token_id_M.size and not 0 <= token_id_M.min() <= token_id_M.max() < view.num_tokens:
        raise ValueError(
            f"{view.uri}/{view.folder} has member {token_id_M.max()}, the run has tokens 0 to "
            f"{view.num_tokens - 1}: were the clusters found in another run?"
        )
    return token_id_M, array(table["cluster_id"]).astype(np.int32)


def smallest_cluster(
    token_id_M: npt.NDArray[np.integer], cluster_M: npt.NDArray[np.integer], num_tokens: int
) -> npt.NDArray[np.int32]:
    """The smallest cluster that has each token [N], −1 in none."""
    cluster_N = np.full(num_tokens, -1, np.int32)
    np.maximum.at(cluster_N, token_id_M, cluster_M)  # clusters are numbered largest first
    return cluster_N


def subset_counts(table: pa.Table, names: Sequence[str]) -> npt.NDArray[np.uint32]:
    """Members of each subset [K, P]; subsets of tokens that were added later have none."""
    counts = np.zeros((table.num_rows, len(names)), np.uint32)
    if table.num_rows:
        known = table["subset_names"][0].as_py()
        of_known = ragged(table["subset_counts"], len(known), np.uint32, 0)
        counts[:, [names.index(name) for name in known]] = of_known
    return counts


def ragged(
    column: pa.ChunkedArray, width: int, dtype: npt.DTypeLike, fill: int
) -> npt.NDArray[Any]:
    """Lists as rows of equal width [K, width], cut, or filled up at their ends."""
    lists = column.combine_chunks()
    row_M = np.repeat(np.arange(len(lists)), np.asarray(lists.value_lengths()))
    values_M = np.asarray(lists.flatten()).astype(dtype)
    return first_of_each(values_M, row_M, (len(lists), width), fill)


def matrix(column: pa.ChunkedArray, width: int) -> npt.NDArray[np.float32]:
    """A column of lists of one width, [K, width]."""
    flat = np.asarray(column.combine_chunks().flatten(), np.float32)
    return flat.reshape(len(column), width)


def floats(column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """NaN for null."""
    return np.asarray(column.combine_chunks().to_numpy(zero_copy_only=False), np.float32)


HOW_IT_HOLDS = ("stability", "repeatability", "shared_neighbours", "q_value", "holds")
"""Columns about other draws and other seeds; clusters of earlier versions have the first alone."""


def how_it_holds(table: pa.Table) -> dict[str, npt.NDArray[np.float32]]:
    """These columns [K], `holds` as 1 and 0; NaN for null, and where the table has no such one."""
    return {
        name: floats(table[name].cast(pa.float32()))
        if name in table.column_names
        else np.full(table.num_rows, np.nan, np.float32)
        for name in HOW_IT_HOLDS
    }


def array(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """A column without nulls."""
    return np.asarray(column.combine_chunks())


def subsets(column: pa.ChunkedArray, names: Sequence[str]) -> npt.NDArray[np.unsignedinteger]:
    """Index into `names` of every row of a column of names."""
    values = column.combine_chunks()
    index_of = {name: index for index, name in enumerate(names)}
    known = np.array([index_of[name] for name in values.dictionary.to_pylist()], np.int64)
    return np.asarray(known[np.asarray(values.indices)], subset_dtype(names))


def subset_dtype(names: Sequence[str]) -> np.dtype[Any]:
    """Of an index into the names."""
    return narrow(len(names) - 1)
