"""A sample of a run's tokens and their places, for pictures of one page (ADR 030, 048).

Shapes: n tokens drawn, K clusters, M members.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectro.views.cluster_tables import members
from spectro.views.map.embedding import choose_points, cluster_positions, layout
from spectro.views.page.config import ReportConfig
from spectro.views.run_view import RunView


@dataclass(frozen=True, kw_only=True)
class SampledMap:
    """Tokens that are drawn, and where they and the clusters stand in the unit square."""

    token_id_n: npt.NDArray[np.int64]
    """Ascending ids."""
    xy_n2: npt.NDArray[np.floating]
    """Places."""
    cluster_n: npt.NDArray[np.int64]
    """Cluster, −1 outside; the smallest one where clusters overlap."""
    centre_K2: npt.NDArray[np.floating]
    """Places of the clusters; NaN where no member is drawn."""


def sampled_map(view: RunView, config: ReportConfig) -> SampledMap:
    """At most `max_points` tokens, members of clusters first; χ is read shard by shard.

    Raises ValueError, in one line, where there are no clusters, or those of another run.
    """
    token_id_M, cluster_M = members(view)
    token_id_n = choose_points(token_id_M, view.num_tokens, config).astype(np.int64)
    xy_n2 = layout(view.vectors(token_id_n), config)
    cluster_n = cluster_of(token_id_n, token_id_M, cluster_M)
    num_clusters = view.clusters.clusters.num_rows
    return SampledMap(
        token_id_n=token_id_n,
        xy_n2=xy_n2,
        cluster_n=cluster_n,
        centre_K2=cluster_positions(xy_n2, cluster_n, num_clusters),
    )


def cluster_of(
    token_id_n: npt.NDArray[np.int64],
    token_id_M: npt.NDArray[np.int64],
    cluster_M: npt.NDArray[np.integer],
) -> npt.NDArray[np.int64]:
    """Cluster of some ascending tokens, −1 for none; the last one, which is the smallest."""
    cluster_n = np.full(token_id_n.size, -1, np.int64)
    place_M = np.searchsorted(token_id_n, token_id_M).clip(max=max(0, token_id_n.size - 1))
    drawn_M = token_id_n[place_M] == token_id_M
    np.maximum.at(cluster_n, place_M[drawn_M], cluster_M[drawn_M].astype(np.int64))
    return cluster_n
