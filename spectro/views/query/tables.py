"""The small tables of a query: components, clusters, members, vocabulary.

Shapes: H components, V vocabulary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spectro.formats.clusters.clusters import CLUSTERS
from spectro.formats.product import SUMMARY_NAME
from spectro.storage.ranges import Meter, RangeReader
from spectro.storage.store import Store
from spectro.tokens.display.terminal_text import plain_token
from spectro.views.cluster_names import PLAIN
from spectro.views.run_view import RunView

VOCABULARY = pa.schema(
    {"token": pa.int32(), "text": pa.string(), "string": pa.string(), "bytes": pa.binary()}
)
MEMBER_COLUMNS = pa.schema({"token_id": pa.int64(), "cluster_id": pa.int32(), "rank": pa.float32()})
_OF_SUMMARY = {
    "reliability": pa.float64(),
    "centred_reliability": pa.float64(),
    "standard_error": pa.float64(),
    "standard_deviation": pa.float64(),
    "mean_phi": pa.float64(),
    "llc": pa.float64(),
    "llc_error": pa.float64(),
    "rhat": pa.float64(),
    "num_draws": pa.int32(),
    "effective_sample_size": pa.float64(),
    "damage": pa.float64(),
    "sampling": pa.string(),
}
_OF_BIAS = {"nats": pa.float64(), "error_nats": pa.float64(), "deviations": pa.float64()}
COMPONENTS = pa.schema(
    {"place": pa.int32(), "component": pa.string(), "layer": pa.int32(), "head": pa.int32()}
    | _OF_SUMMARY
    | {"half_width_95": pa.float64(), "num_chains": pa.int32()}
    | {f"bias_{name}": kind for name, kind in _OF_BIAS.items()}
)
"""`place` is the index into `chi`, which begins at 1; `half_width_95` half the width of the 95 %
interval of χ (susceptibility/interval.py), root mean square over tokens as `standard_error`."""
TOP_TEXT = "top_text"


def vocabulary_table(pieces: Sequence[bytes | None] | None) -> pa.Table:
    """A row per token of the vocabulary; empty if unknown."""
    pieces = pieces or []
    columns = {
        "token": range(len(pieces)),
        "text": [plain_token(piece) for piece in pieces],
        "string": [_string(piece) for piece in pieces],
        "bytes": pieces,
    }
    return pa.table(
        {name: pa.array(values, VOCABULARY.field(name).type) for name, values in columns.items()}
    )


def components_table(view: RunView, components: Sequence[str]) -> pa.Table:
    """A row per column of χ; null where the summary has no value."""
    known = view.summary if view.store.exists(SUMMARY_NAME) else {}
    unknown = [None] * len(components)
    places = [_place(name) for name in components]
    columns: dict[str, Sequence[Any]] = {
        "place": range(1, len(components) + 1),
        "component": components,
        "layer": [layer for layer, _ in places],
        "head": [head for _, head in places],
    }
    columns |= {name: known.get(name, unknown) for name in _OF_SUMMARY}
    error_H = np.array(known.get("standard_error", unknown), np.float64)
    width_H = view.interval.half_width(error_H)
    columns["half_width_95"] = [float(w) if math.isfinite(w) else None for w in width_H]
    columns["num_chains"] = [view.num_chains] * len(components)
    biases = known.get("sampler_bias", unknown)
    columns |= {f"bias_{name}": [each and each[name] for each in biases] for name in _OF_BIAS}
    return pa.table(
        {name: pa.array(values, COMPONENTS.field(name).type) for name, values in columns.items()}
    )


def clusters_schema(folder: Store, meter: Meter) -> pa.Schema:
    """Columns of a folder's clusters, from the footer of their file, their names, `top_text`."""
    size = folder.list()[CLUSTERS]
    stored = pq.read_schema(pa.PythonFile(RangeReader(folder, CLUSTERS, size, meter), mode="r"))
    made = [*PLAIN, pa.field(TOP_TEXT, pa.list_(pa.string()))]
    place = stored.get_field_index("top_tokens")
    fields = [*list(stored)[:place], *made, *list(stored)[place:]]
    return pa.schema(fields)


def with_texts(clusters: pa.Table, names: pa.Table, text_V: pa.Array) -> pa.Table:
    """Clusters with their names and the display of their most common tokens."""
    tops = clusters["top_tokens"].combine_chunks()
    texts = pa.ListArray.from_arrays(tops.offsets, text_V.take(tops.values))
    for field in PLAIN:
        clusters = clusters.append_column(field, names[field.name])
    return clusters.append_column(TOP_TEXT, texts)


def _place(component: str) -> tuple[int | None, int | None]:
    """Layer and head, if any."""
    found = re.fullmatch(r"l(\d+)(?:h(\d+)|kv\d+|mlp)", component)
    if found is None:
        return None, None
    return int(found[1]), None if found[2] is None else int(found[2])


def _string(piece: bytes | None) -> str | None:
    try:
        return None if piece is None else piece.decode()
    except UnicodeDecodeError:
        return None
