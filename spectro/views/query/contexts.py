"""Tables of tokens with their contexts.

Shapes: N tokens of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.views.query.config import Window
from spectro.views.query.query import Query
from spectro.views.query.sources import CLUSTER_ID

BEFORE, Y, AFTER = CONTEXT_COLUMNS = ("before", "y", "after")
"""Columns of a context: text before y, y, text after it."""
LABEL_COLUMNS = ("subset", "sequence_id", "position", "loss", CLUSTER_ID)
"""Columns of `tokens` beside a context."""
FIRST_ROWS, BATCH_ROWS = 64, 65_536
"""Rows of the first batch, and the maximum; batches grow fourfold, so that the first rows come
soon."""


def labelled(query: Query, found: pa.Table, window: Window) -> pa.RecordBatchReader:
    """Rows with labels and contexts, made batch by batch when read.

    `found` has `token_id` and further columns, which win over labels of the same name.
    """
    own, labels = found.schema.remove_metadata(), query.rows.schema
    made = [labels.field(name) for name in LABEL_COLUMNS if name not in own.names]
    made += [pa.field(name, pa.string()) for name in CONTEXT_COLUMNS]
    schema = pa.schema([*own, *made])
    return pa.RecordBatchReader.from_batches(schema, _batches(query, found, window, schema))


def _batches(
    query: Query, found: pa.Table, window: Window, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    start, size = 0, FIRST_ROWS
    while start < found.num_rows:
        part = found.slice(start, size).combine_chunks()
        ids_N = np.asarray(part["token_id"].combine_chunks())
        known: dict[str, Any] = _labels(query, ids_N) | contexts(query, ids_N, window)
        known |= {name: part[name] for name in part.column_names}
        rows = pa.table({name: known[name] for name in schema.names})
        yield from rows.cast(schema).to_batches()
        start, size = start + size, min(4 * size, BATCH_ROWS)


def _labels(query: Query, token_id_N: npt.NDArray[np.int64]) -> dict[str, pa.ChunkedArray]:
    """`LABEL_COLUMNS` of some tokens, in their order."""
    labels = query.table(
        f"select token_id, {', '.join(LABEL_COLUMNS)} from tokens "
        "where token_id in (select unnest($1::bigint[]))",
        token_id_N.tolist(),
    )
    ids = np.asarray(labels["token_id"].combine_chunks())
    order = np.argsort(ids, kind="stable")
    labels = labels.take(order[np.searchsorted(ids[order], token_id_N)])
    return {name: labels[name] for name in LABEL_COLUMNS}


def contexts(
    query: Query, token_id_N: npt.NDArray[np.int64], window: Window
) -> dict[str, list[str]]:
    """Contexts of these tokens, by `CONTEXT_COLUMNS`."""
    context = query.view.context
    sequence_n, row_N = np.unique(token_id_N // context, return_inverse=True)
    ids_nT1, _ = query.view.sequences(sequence_n)
    found: dict[str, list[str]] = {name: [] for name in CONTEXT_COLUMNS}
    for row, position in zip(row_N.tolist(), (token_id_N % context).tolist(), strict=True):
        y = position + 1
        ids = ids_nT1[row, max(0, y - window.before) : y + 1 + window.after].tolist()
        at = min(y, window.before)
        parts = ids[:at], ids[at : at + 1], ids[at + 1 :]
        for name, part in zip(CONTEXT_COLUMNS, parts, strict=True):
            found[name].append("".join(map(query.text_of, part)))
    return found
