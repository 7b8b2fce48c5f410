"""The largest clusters of a run, as a table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from rich.table import Table
from rich.text import Text

from spectro.clustering.vectors.vector_reliability import report_lines
from spectro.config import PipelineConfig
from spectro.formats import tokens
from spectro.formats.clusters.clusters import read_clusters
from spectro.storage.store import Store
from spectro.tokens.display.context_text import Vocabulary
from spectro.tokens.display.terminal_text import plain, plain_string
from spectro.views.cluster_names import ClusterNames, cluster_names
from spectro.views.cluster_tables import how_it_holds
from spectro.views.run_view import RunView
from spectro.views.token_contexts import known_vocabulary

from .output import NOT_KNOWN, number, table

MAX_ROWS = 15
TOP_TOKENS = 6
LOOSE = "◌"
"""Marks a cluster that does not hold."""


def vectors_lines(config: PipelineConfig, store: Store) -> tuple[str, ...]:
    """Vectors that were clustered, and their reliability."""
    found = read_clusters(f"{store.uri}/{config.run.clusters}")
    return report_lines(found.transform, found.provenance["components"])


def stored_names(store: Store, clusters: str) -> ClusterNames:
    """The names that are beside some clusters; none are made."""
    return cluster_names(RunView(f"{store.uri}/{clusters}"), Vocabulary(pieces=None))


def cluster_table(config: PipelineConfig, store: Store) -> Table:
    """The largest clusters: size, conductance, subset, name or most common y."""
    found = read_clusters(f"{store.uri}/{config.run.clusters}").clusters
    held = how_it_holds(found)
    known = known_vocabulary(config.model, tokens.read_info(store).vocab_size)
    names = stored_names(store, config.run.clusters).to_table()
    rows = []
    for place, row in enumerate(found.slice(0, MAX_ROWS).to_pylist()):
        is_loose = held["holds"][place] == 0
        name, f1 = names["name"][place].as_py(), names["name_f1"][place].as_py()
        tops = [plain(known.show(token)) for token in row["top_tokens"][:TOP_TOKENS]]
        counts = row["subset_counts"]
        subset = row["subset_names"][counts.index(max(counts))]
        cells = (
            f"{LOOSE} {row['cluster_id']}" if is_loose else str(row["cluster_id"]),
            str(row["size"]),
            f"{row['conductance']:.3f}",
            *(number(held[name][place]) for name in ("stability", "repeatability")),
            number(held["shared_neighbours"][place], ".0%"),
            number(held["q_value"][place], ".3f"),
            f"{plain_string(subset)} ({row['purity']:.0%})",
            number(f1) if name else NOT_KNOWN,
            name or "  ".join(tops),
        )
        rows.append([Text(cell, style="dim" if is_loose else "") for cell in cells])
    numbers = ("cluster", "tokens", "conductance", "stability", "ceiling", "shared", "q")
    heads = (*numbers, "subset (share)", "F1", "name, or most common y")
    left = ("subset (share)", "name, or most common y")
    return table(_title(held["holds"]), heads, rows, left=left)


def _title(holds_K: npt.NDArray[np.floating]) -> str:
    """How many clusters there are and how many hold; what the mark means, where it is used."""
    title, known = f"The largest of {holds_K.size} clusters", np.isfinite(holds_K)
    if not known.any():
        return title
    num_held = int(np.count_nonzero(holds_K[known]))
    title += f", {num_held} hold"
    if num_held == known.sum():
        return title
    return f"{title} ({LOOSE}: not found again by other seeds, or not known to other draws)"
