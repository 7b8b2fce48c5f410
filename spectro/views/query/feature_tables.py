"""Tables of the matches of clusters to features of autoencoders (ADR 102).

Several matches of the same clusters are in one table, first the one that cards show.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from spectro.formats.feature_matches import PREFIX
from spectro.views.autoencoder.stored import StoredMatch, stored_contents
from spectro.views.query.sources import Made
from spectro.views.run_view import RunView

_LISTS = {
    "feature": pa.int32(),
    "level": pa.float32(),
    "f1": pa.float32(),
    "precision": pa.float32(),
    "recall": pa.float32(),
    "auc": pa.float32(),
    "num_active": pa.int64(),
}
_OF_BEST = {name: pa.float32() for name in ("null_f1", "q_value", "y_f1", "cell_f1")}
_OF_MATCH = {name: pa.string() for name in ("match", "autoencoder", "hook", "read_at")}
FEATURES = pa.schema(
    {"cluster_id": pa.int32(), "place": pa.int32()} | _LISTS | _OF_BEST | _OF_MATCH
)
"""A row per cluster and each of its best features, 1 the best, which `null_f1`, `q_value`, `y_f1`
and `cell_f1` are to be compared with. `match` is the key in the names of the stored files."""
ALL_FEATURES = pa.schema(
    {"feature": pa.int32(), "num_active": pa.int64(), "cluster_id": pa.int32(), "f1": pa.float32()}
    | _OF_MATCH
)
"""A row per feature: tokens on which it is active, the cluster of its largest F1, null where no
cluster has such a token."""


def feature_tables(view: RunView) -> dict[str, Made]:
    """Tables by name; none where the clusters have no match. Reads markers only."""
    folder, stems = view.store.child(view.folder), list(stored_contents(view))

    def made(schema: pa.Schema, columns_of: Callable[[StoredMatch], dict[str, Any]]) -> Made:
        def make() -> pa.Table:
            matches = [StoredMatch.read(folder, stem) for stem in stems]
            return pa.concat_tables([_table(schema, each, columns_of(each)) for each in matches])

        return Made(schema, make)

    if not stems:
        return {}
    return {
        "features": made(FEATURES, _by_cluster),
        "all_features": made(ALL_FEATURES, _by_feature),
    }


def _table(schema: pa.Schema, found: StoredMatch, columns: dict[str, Any]) -> pa.Table:
    """The columns, with those that name the match."""
    num_rows = len(columns["feature"])
    said = {
        "match": found.stem.removeprefix(PREFIX),
        "autoencoder": found.autoencoder,
        "hook": found.content["hook"],
        "read_at": found.content["config"]["read_at"],
    }
    named = {name: pa.repeat(pa.scalar(text, pa.string()), num_rows) for name, text in said.items()}
    return pa.table([(columns | named)[name] for name in schema.names], schema)


def _by_cluster(found: StoredMatch) -> dict[str, Any]:
    """A row per element of the lists."""
    table = found.by_cluster
    lists = {name: table["features" if name == "feature" else name] for name in _LISTS}
    length_C = np.asarray(lists["feature"].combine_chunks().value_lengths())
    row = np.repeat(np.arange(length_C.size), length_C)
    first = np.repeat(np.cumsum(length_C) - length_C, length_C)
    return {
        "cluster_id": table["cluster_id"].take(row),
        "place": pa.array(np.arange(row.size) - first + 1, pa.int32()),
        **{name: values.combine_chunks().flatten() for name, values in lists.items()},
        **{name: table[name].take(row) for name in _OF_BEST},
    }


def _by_feature(found: StoredMatch) -> dict[str, Any]:
    table = found.by_feature
    cluster_F = np.asarray(table["cluster_id"].combine_chunks())
    own = {name: table[name] for name in ("feature", "num_active", "f1")}
    return {**own, "cluster_id": pa.array(cluster_F, mask=cluster_F < 0)}
