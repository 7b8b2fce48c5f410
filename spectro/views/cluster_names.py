"""Names of a run's clusters: as stored beside them, else made in memory by the same functions.

Shapes: K clusters, M memberships, n sampled tokens.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.analysis.naming.rules import Rule
from spectro.formats.clusters.names import (
    SCHEMA,
    GivenName,
    put_names,
    read_given_names,
    read_names,
)
from spectro.tokens.display.context_text import Vocabulary
from spectro.tokens.display.terminal_text import plain
from spectro.tokens.display.vocabulary import display_name
from spectro.views.cluster_tables import floats
from spectro.views.make_names import lexicon_of, made_names, name_text
from spectro.views.run_view import RunView

logger = logging.getLogger(__name__)
NUM_COMMON = 3
"""Tokens that are shown where there is no name."""
PLAIN = pa.schema(
    {
        "name": pa.string(),
        "name_source": pa.string(),
        "named_by": pa.string(),
        "name_f1": pa.float32(),
        "name_precision": pa.float32(),
        "name_recall": pa.float32(),
        "rule_name": pa.string(),
        "rule": pa.string(),
        "neighbourhood": pa.string(),
        "neighbourhood_f1": pa.float32(),
    }
)
"""Columns of a table of names; scores are of `rule_name`."""


@dataclass(frozen=True, kw_only=True)
class ClusterNames:
    """What the clusters of one place are called."""

    table: pa.Table
    """SCHEMA of formats/clusters/names.py: names by rules, with their scores."""
    rule_shown_K: tuple[str, ...]
    """Names by rules in the display alphabet; empty where there is none beyond chance."""
    neighbourhood_K: tuple[str, ...]
    """Names of clusters with their nearest clusters, in the display alphabet."""
    given: dict[int, GivenName]
    """Names from a file, by cluster."""
    summary: dict[str, Any] | None
    """`summary_of_names`; None where nothing could be named."""

    @property
    def shown_K(self) -> tuple[str, ...]:
        """The name that is shown: from a file, else by a rule; empty where there is none."""
        return tuple(
            display_name(self.given[cluster].name) if cluster in self.given else name
            for cluster, name in enumerate(self.rule_shown_K)
        )

    @property
    def source_K(self) -> tuple[str, ...]:
        """Where that name is from: `file`, `rule`, or nothing."""
        return tuple(
            "file" if cluster in self.given else "rule" if name else ""
            for cluster, name in enumerate(self.rule_shown_K)
        )

    def to_table(self) -> pa.Table:
        """PLAIN: names that are shown and where they are from, in plain text."""
        by = {cluster: name.named_by or None for cluster, name in self.given.items()}
        num = self.table.num_rows
        columns = {
            "name": [plain(name) or None for name in self.shown_K],
            "name_source": [source or None for source in self.source_K],
            "named_by": [by.get(cluster) for cluster in range(num)],
            "rule_name": [plain(name) or None for name in self.rule_shown_K],
            **{f"name_{score}": self.table[score] for score in ("f1", "precision", "recall")},
            **{name: self.table[name] for name in ("rule", "neighbourhood", "neighbourhood_f1")},
        }
        return pa.table([columns[field.name] for field in PLAIN], PLAIN)

    def scores(self) -> dict[str, npt.NDArray[Any]]:
        """Columns of the map's clusters: held-out scores of the names by rules, [K]."""
        columns = {f"name_{score}": score for score in ("f1", "precision", "recall")}
        columns |= {"neighbourhood_f1": "neighbourhood_f1"}
        return {column: floats(self.table[score]) for column, score in columns.items()}

    def or_common(
        self, known: Vocabulary, top_tokens_KT: npt.NDArray[np.integer]
    ) -> tuple[str, ...]:
        """The names that are shown; where there is none, the most common y."""
        return tuple(
            name or " ".join(known.show(token) for token in tops[:NUM_COMMON] if token >= 0)
            for name, tops in zip(self.shown_K, top_tokens_KT.tolist(), strict=True)
        )

    def to_json(self) -> dict[str, list[str]]:
        """Columns of plain JSON types, in the display alphabet."""
        by_K = {cluster: display_name(name.named_by) for cluster, name in self.given.items()}
        return {
            "shown": list(self.shown_K),
            "source": list(self.source_K),
            "rule": list(self.rule_shown_K),
            "named_by": [by_K.get(cluster, "") for cluster in range(self.table.num_rows)],
            "neighbourhood": list(self.neighbourhood_K),
        }


def cluster_names(view: RunView, known: Vocabulary) -> ClusterNames:
    """Names of the clusters of a place; nothing is written.

    Without a tokenizer only names that are stored are known. Raises ValueError, in one line, where
    there are no clusters.
    """
    folder = view.store.child(view.folder)
    num_clusters = view.clusters.clusters.num_rows
    stored = read_names(folder)
    if stored is None and known.pieces is not None and num_clusters:
        stored = made_names(view, known)
    given = {k: v for k, v in read_given_names(folder).items() if k < num_clusters}
    if stored is None:
        nothing = pa.array([None] * num_clusters, pa.null())
        columns = [nothing.cast(field.type) for field in SCHEMA]
        nobody = ("",) * num_clusters
        return ClusterNames(
            table=pa.table(columns, SCHEMA).set_column(
                0, SCHEMA.field(0), pa.array(np.arange(num_clusters, dtype=np.int32))
            ),
            rule_shown_K=nobody, neighbourhood_K=nobody, given=given, summary=None,
        )  # fmt: skip
    return ClusterNames(
        table=stored.table,
        rule_shown_K=_shown(view, known, stored.table),
        neighbourhood_K=tuple(text or "" for text in stored.table["neighbourhood"].to_pylist()),
        given=given,
        summary=stored.summary,
    )


def put_cluster_names(view: RunView, known: Vocabulary) -> None:
    """Make the names of the clusters of a place, and put them beside these, unless they are there.

    Without a tokenizer, or where the folder cannot be written, nothing is put, and that is logged.
    """
    folder = view.store.child(view.folder)
    if known.pieces is None or not view.clusters.clusters.num_rows:
        return
    if read_names(folder) is not None:
        return
    try:
        put_names(folder, made_names(view, known))
    except PermissionError as error:
        logger.warning("names of the clusters are not stored: %s", error)


def _shown(view: RunView, known: Vocabulary, table: pa.Table) -> tuple[str, ...]:
    """Names in the display alphabet, from the rules; as they are stored without a tokenizer."""
    rows = table.select(["name", "rule", "beyond_chance"]).to_pylist()
    lexicon = None if known.pieces is None else lexicon_of(view, known)
    return tuple(
        ""
        if not row["beyond_chance"] or row["rule"] is None
        else row["name"]
        if lexicon is None
        else name_text(Rule.from_dict(json.loads(row["rule"]), lexicon), view, known)
        for row in rows
    )
