"""The tables of a published run, a token shard at a time.

    tokens       token_id · sequence_id · position · subset · token (id of y) · text · loss ·
                 full_response · cluster_id · map_x · map_y · chi list<float32>[H]
    sequences    sequence_id · subset · input_ids list<int32>[T + 1] · text
    clusters     as clusters.parquet has them, and top_texts, names with their scores
                 (views/cluster_names.py) · map_x · map_y · region
    members      token_id · cluster_id · rank
    regions      region · name · map_x · map_y · num_clusters · num_tokens
    components   component · reliability, llc, rhat and the rest of summary.json, by column

Of subsets without `text` every text is null, and of clusters with a member in such a subset, but
for names that the user has given; names of regions and neighbourhoods, whose tokens may be from any
subset, are null where there is such a subset.
Shapes: N tokens, S sequences, K clusters, H components, T context.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.formats import tokens
from spectro.formats.product import LABELS, read_shard
from spectro.formats.shard_file import lists
from spectro.tokens.display.context_text import Vocabulary
from spectro.tokens.display.terminal_text import plain, plain_string
from spectro.views.cluster_names import cluster_names
from spectro.views.cluster_tables import subset_counts
from spectro.views.map.columns import GRID
from spectro.views.map.drawn import DrawnMap
from spectro.views.run_view import RunView
from spectro.views.token_places import cluster_of_tokens, map_of_tokens

OF_MEMBERS = ("rule_name", "rule")
"""Columns of names that quote the text of members; `neighbourhood` quotes other clusters' too."""


@dataclass(frozen=True, kw_only=True)
class PublishedRun:
    """What is read of a run for its tables."""

    view: RunView
    """All of its tokens measured."""
    known: Vocabulary
    """The tokenizer's; without one all texts are null."""
    with_text: frozenset[str]
    """Subsets whose text is published."""
    drawn: DrawnMap | None
    """Places on the map; None: no columns of them."""

    def tables(self) -> Mapping[str, Iterator[pa.Table]]:
        """Name → its rows, in parts of one schema."""
        found = {"tokens": self._tokens(), "sequences": self._sequences()}
        if self.view.has_clusters:
            found["clusters"] = iter([self._clusters()])
            found["members"] = iter([self.view.clusters.members.replace_schema_metadata(None)])
        if self.drawn is not None and self.drawn.regions:
            found["regions"] = iter([self._regions(self.drawn.regions)])
        return {**found, "components": iter([components_table(self.view)])}

    @cached_property
    def _texts(self) -> pa.Array:
        """How each token of the vocabulary is shown, [V]; null without a tokenizer."""
        size = self.view.info.vocab_size
        if self.known.pieces is None:
            return pa.nulls(size, pa.string())
        return pa.array([plain(self.known.show(token)) for token in range(size)], pa.string())

    @property
    def _shows_all(self) -> bool:
        """Whether the text of every subset is published."""
        return self.known.pieces is not None and self.with_text >= set(self.view.subset_names)

    def _tokens(self) -> Iterator[pa.Table]:
        view = self.view
        places: dict[str, npt.NDArray[Any]] = {}
        if view.has_clusters:
            places["cluster_id"] = cluster_of_tokens(view)
        if self.drawn is not None:
            xy_N2 = map_of_tokens(self.drawn, view.num_tokens)
            places |= {"map_x": xy_N2[:, 0], "map_y": xy_N2[:, 1]}
        for shard in range(view.num_shards):
            part = read_shard(view.store, shard)
            row_n = part.column("token_id")
            own = {name: part.table[name] for name in LABELS}
            own["subset"] = own["subset"].cast(pa.string())
            text = self._texts.take(part.table["token"].combine_chunks())
            shown = np.isin(np.asarray(own["subset"]), sorted(self.with_text))
            columns = {
                **{name: own[name] for name in LABELS[:5]},
                "text": _or_null(text, shown),
                **{name: own[name] for name in LABELS[5:]},
                **{name: _known(values[row_n]) for name, values in places.items()},
                "chi": lists(part.chi_NH),
            }
            yield pa.table(columns)

    def _sequences(self) -> Iterator[pa.Table]:
        view = self.view
        for shard in range(view.num_shards):
            ids, part = tokens.read_shard(view.root, "probe", shard, view.info)
            names = [part.subset_names[index] for index in part.subset_S.tolist()]
            texts = [
                self._text(row) if name in self.with_text else None
                for row, name in zip(part.ids_ST1.tolist(), names, strict=True)
            ]
            flat = pa.array(part.ids_ST1.reshape(-1).astype(np.int32))
            yield pa.table(
                {
                    "sequence_id": pa.array(ids.astype(np.int32)),
                    "subset": pa.array(names, pa.string()),
                    "input_ids": pa.FixedSizeListArray.from_arrays(flat, view.context + 1),
                    "text": pa.array(texts, pa.string()),
                }
            )

    def _text(self, ids: Sequence[int]) -> str | None:
        """A sequence as its tokenizer decodes it; None without one."""
        pieces = self.known.in_text(ids)
        if pieces is None:
            return None
        return b"".join(piece or b"" for piece in pieces).decode("utf-8", "replace")

    def _clusters(self) -> pa.Table:
        table = self.view.clusters.clusters.replace_schema_metadata(None)
        counts_KP = subset_counts(table, self.view.subset_names)
        hidden_P = np.array([name not in self.with_text for name in self.view.subset_names])
        shown_K = counts_KP[:, hidden_P].sum(axis=1) == 0
        lists_of_ids = table["top_tokens"].combine_chunks()
        texts = pa.ListArray.from_arrays(
            lists_of_ids.offsets, self._texts.take(lists_of_ids.values)
        )
        if self.known.pieces is None:
            shown_K[:] = False
        table = table.append_column("top_texts", _or_null(texts, shown_K))
        names = cluster_names(self.view, self.known).to_table()
        given_K = np.array(names["name_source"].to_pylist()) == "file"
        for column in names.column_names:
            values = names[column].combine_chunks()
            if column == "name":
                values = _or_null(values, shown_K | given_K)
            elif column in OF_MEMBERS:
                values = _or_null(values, shown_K)
            elif column == "neighbourhood":
                values = _or_null(values, shown_K & self._shows_all)
            table = table.append_column(column, values)
        if self.drawn is not None:
            for axis in "xy":
                place_K = (self.drawn.clusters[axis] / GRID).astype(np.float32)
                table = table.append_column(f"map_{axis}", pa.array(place_K))
            table = table.append_column("region", _known(self.drawn.clusters["region"]))
        return table

    def _regions(self, regions: Sequence[Mapping[str, Any]]) -> pa.Table:
        """A row for each region."""
        names = [plain(region["name"]) or None if self._shows_all else None for region in regions]
        at_R2 = np.array([region["at"] for region in regions], np.float32) / np.float32(GRID)
        return pa.table(
            {
                "region": pa.array([region["id"] for region in regions], pa.int32()),
                "name": pa.array(names, pa.string()),
                "map_x": pa.array(at_R2[:, 0]),
                "map_y": pa.array(at_R2[:, 1]),
                "num_clusters": pa.array([region["clusters"] for region in regions], pa.int64()),
                "num_tokens": pa.array([region["tokens"] for region in regions], pa.int64()),
            }
        )


def components_table(view: RunView) -> pa.Table:
    """A row for each component, with every statistic of the summary that has one per column."""
    num_components, summary = len(view.components), view.summary
    columns = {
        name: pa.array(values)
        for name, values in summary.items()
        if isinstance(values, list)
        and len(values) == num_components
        and name not in ("components", "warnings")
        and all(isinstance(value, int | float | str | None) for value in values)
    }
    names = [plain_string(name) for name in view.components]
    return pa.table({"component": pa.array(names, pa.string()), **columns})


def _known(values: npt.NDArray[Any]) -> pa.Array:
    """Null for NaN and for numbers below 0."""
    return pa.array(values, mask=np.isnan(values) if values.dtype.kind == "f" else values < 0)


def _or_null(values: pa.Array, shown: npt.NDArray[np.bool_]) -> pa.Array:
    """Null where it is not shown."""
    return values.take(pa.array(np.arange(len(values)), mask=~shown))
