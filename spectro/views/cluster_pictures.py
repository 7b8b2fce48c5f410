"""What the figures of clusters are made of: the map's points and rings, one cluster's card.

Shapes: N tokens, n tokens drawn, K clusters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.report.config import ReportConfig
from spectro.report.contexts import random_members
from spectro.report.figures.card import CardData
from spectro.report.figures.cluster_map import MapData
from spectro.report.lit import Vocabulary
from spectro.storage.cluster_columns import subset_counts
from spectro.storage.run_view import RunView
from spectro.storage.sampled_map import sampled_map
from spectro.views.contexts import lit_tokens

NUM_NAMES = 3
"""Common tokens in the name of a ring."""


def map_data(view: RunView, max_points: int, seed: int, known: Vocabulary) -> MapData:
    """Positions by the page's layout (ADR 030) of at most `max_points` tokens.

    Raises ValueError, in one line, where there are no clusters.
    """
    stored = view.clusters
    drawn = sampled_map(view, ReportConfig(max_points=max_points, seed=seed))
    sequence_id, row_n = np.unique(drawn.token_id_n // view.context, return_inverse=True)
    counts_KP = subset_counts(stored.clusters, view.subset_names)
    return MapData(
        xy_n2=drawn.xy_n2,
        subset_n=view.sequences(sequence_id)[1][row_n].astype(np.int64),
        cluster_n=drawn.cluster_n,
        subset_names=view.subset_names,
        centre_K2=drawn.centre_K2,
        size_K=_column(stored.clusters, "size").astype(np.int64),
        dominant_K=counts_KP.argmax(axis=1),
        names_K=tuple(
            tuple(map(known.show, tops[:NUM_NAMES]))
            for tops in stored.clusters["top_tokens"].to_pylist()
        ),
        num_tokens=view.num_tokens,
    )


def card_data(
    view: RunView, cluster: int, num_contexts: int, seed: int, known: Vocabulary
) -> CardData:
    """One cluster; its random members are those of the page.

    Raises ValueError, in one line, for a cluster that there is not.
    """
    stored = view.clusters
    if not 0 <= cluster < stored.clusters.num_rows:
        raise ValueError(
            f"{view.uri} has no cluster {cluster}: its {stored.clusters.num_rows} clusters are "
            "numbered from 0, largest first"
        )
    row = stored.clusters.slice(cluster, 1).to_pylist()[0]
    members = _column(stored.members, "token_id")[_column(stored.members, "cluster_id") == cluster]
    chosen = random_members(members, cluster, num_contexts, seed)
    return CardData(
        cluster_id=cluster,
        size=int(row["size"]),
        conductance=float(row["conductance"]),
        stability=float("nan") if row["stability"] is None else float(row["stability"]),
        purity=float(row["purity"]),
        top_tokens=tuple(
            (known.show(token), count)
            for token, count in zip(row["top_tokens"], row["top_counts"], strict=True)
        ),
        subset_names=view.subset_names,
        subset_counts_P=subset_counts(stored.clusters, view.subset_names)[cluster].astype(np.int64),
        components=view.components,
        mean_chi_H=np.asarray(row["mean_chi"], np.float64),
        contexts=tuple(lit_tokens(view, chosen, known, before=40, after=24)),
    )


def _column(table: Any, name: str) -> npt.NDArray[Any]:
    return np.asarray(table[name].combine_chunks())
