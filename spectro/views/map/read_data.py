"""What a cluster map's folder is made of, read from a run.

Shapes: K clusters, H components.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from spectro.formats import tokens
from spectro.formats.clusters.clusters import CLUSTERS, PROVENANCE, read_table
from spectro.formats.product import SUMMARY_NAME
from spectro.formats.run_dir import NAME
from spectro.formats.run_parts import CONTROL
from spectro.storage.checksummed_json import read_sealed
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.cluster_names import cluster_names
from spectro.views.cluster_tables import matrix, subset_dtype
from spectro.views.map.config import MapConfig
from spectro.views.map.data_files import MapData, SequenceSource
from spectro.views.map.placed import OnProgress, read_placed
from spectro.views.page.read_columns import read_columns
from spectro.views.page.read_ledger import Ledger
from spectro.views.page.report_data import report_data
from spectro.views.page.run_facts import run_facts
from spectro.views.run_view import RunView


def read_map_data(
    view: RunView,
    config: MapConfig,
    known: Vocabulary,
    shown: Sequence[str | None],
    ledger: Ledger | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> MapData:
    """Everything that the viewer shows of a run.

    Args:
        view: of a run with clusters, all of its tokens measured.
        config: what is drawn, and how.
        known: the tokenizer's vocabulary, which known kinds of token are looked up in.
        shown: each token in the display alphabet.
        ledger: what the run's records say; None: nothing.
        on_progress: called with tokens placed and tokens in all.

    Raises ValueError, in one line, where parts of the run are missing.
    """
    names = cluster_names(view, known)
    placed = read_placed(view, config, known, on_progress)
    columns = read_columns(view.store, view.components, view.interval)
    stored, file = view.clusters, view.file
    return MapData(
        title=config.title or view.title,
        facts=run_facts(
            file.config,
            file.fingerprint,
            placed.num_tokens,
            len(view.subset_names),
            columns,
            stored,
        ),
        provenance=view.store.read(NAME).decode("utf-8"),
        subsets=view.subset_names,
        components=view.components,
        reliability_H=np.asarray(columns.reliability_H),
        num_tokens=placed.num_tokens,
        tokens=placed.tokens,
        clusters=replace(placed.clusters, **names.scores()),
        profile_KH=matrix(stored.clusters["mean_chi"], len(view.components)),
        sequences=_sequences(view),
        vocabulary=shown,
        regions=placed.regions,
        names=names.to_json(),
        control=_control(view),
        num_clustered_tokens=stored.provenance["num_clustered_tokens"],
        control_measured=view.store.exists(f"{CONTROL}/{SUMMARY_NAME}"),
        is_control=view.is_control,
        assigned=None if placed.assigned is None else placed.assigned.to_json(),
        layout=placed.layout,
        rows_per_file=config.rows_per_file,
        report=report_data(view, known, names, ledger),
    )


def _sequences(view: RunView) -> SequenceSource:
    """Subsets at once, ids when they are asked for."""
    info = view.info
    num_shards = info.splits["probe"].num_shards

    def shards() -> Iterator[Any]:
        for shard in range(num_shards):
            yield tokens.read_shard(view.root, "probe", shard, info)[1]

    subset = np.concatenate([part.subset_S for part in shards()])
    return SequenceSource(
        subset_S=subset.astype(subset_dtype(view.subset_names)),
        context=view.context,
        largest_id=info.vocab_size - 1,
        blocks=lambda: (part.ids_ST1 for part in shards()),
    )


def _control(view: RunView) -> dict[str, Any] | None:
    """Clusters of the same name in the nβ = 0 control; None where there are none."""
    folder = view.store.child(CONTROL).child(view.folder)
    if not folder.exists(PROVENANCE):
        return None
    provenance = read_sealed(folder, PROVENANCE)
    table = read_table(folder, CLUSTERS, provenance, ["size", "conductance"])
    return {
        "clusters": table.num_rows,
        "tokens": provenance["num_clustered_tokens"],
        "sizes": table["size"].to_pylist(),
        "conductances": [round(value, 4) for value in table["conductance"].to_pylist()],
    }
