"""What the figures of clusters are made of: the map's points and rings, one cluster's card.

Shapes: N tokens, n tokens drawn, K clusters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.tokens.display.context_text import Vocabulary
from spectro.views.autoencoder.stored import NUM_FEATURES, stored_match
from spectro.views.cluster_examples import random_members
from spectro.views.cluster_names import cluster_names
from spectro.views.cluster_tables import array, floats, subset_counts
from spectro.views.drawing.card import CardData
from spectro.views.drawing.cluster_map import ClusterMapData, RegionOutline
from spectro.views.map.columns import GRID
from spectro.views.map.drawn import drawn_map
from spectro.views.map.embedding import choose_points
from spectro.views.run_view import RunView
from spectro.views.token_contexts import lit_tokens


def map_data(view: RunView, max_points: int, seed: int, known: Vocabulary) -> ClusterMapData:
    """The map of `spectro map`, of which at most `max_points` tokens are drawn.

    Positions and regions are those of the map beside the clusters where it is of these, else made
    by the same functions. Raises ValueError, in one line, where there are no clusters.
    """
    names = cluster_names(view, known)
    drawn = drawn_map(view, seed, known)
    cluster_n = drawn.tokens["cluster"].astype(np.int64)
    chosen = choose_points(np.flatnonzero(cluster_n >= 0), len(cluster_n), max_points, seed)
    return ClusterMapData(
        xy_n2=_places(drawn.tokens)[chosen],
        subset_n=drawn.tokens["subset"][chosen].astype(np.int64),
        cluster_n=np.maximum(cluster_n[chosen], -1),
        subset_names=view.subset_names,
        centre_K2=_places(drawn.clusters),
        size_K=drawn.clusters["size"].astype(np.int64),
        dominant_K=drawn.clusters["subset"].astype(np.int64),
        names_K=names.or_common(known, drawn.clusters["top_tokens"]),
        num_tokens=view.num_tokens,
        regions=tuple(
            RegionOutline(
                name=region["name"],
                outline_P2=np.asarray(region["outline"], np.float64) / GRID,
            )
            for region in drawn.regions
        ),
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
    names = cluster_names(view, known)
    members = array(stored.members["token_id"])[array(stored.members["cluster_id"]) == cluster]
    chosen = random_members(members, cluster, num_contexts, seed)
    match = stored_match(view)
    features = match.features_of(cluster, NUM_FEATURES) if match else ()
    return CardData(
        cluster_id=cluster,
        name=names.shown_K[cluster],
        source=names.source_K[cluster],
        name_f1=float(floats(names.table["f1"])[cluster]),
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
        features=tuple((each.text, each.f1, each.auc) for each in features),
        features_of=match.title if match else "",
    )


def _places(columns: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
    """Positions in the unit square, [rows, 2]."""
    return np.stack([columns["x"], columns["y"]], axis=1).astype(np.float64) / GRID
