"""Compares stored clusterings of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.compare import Comparison, compare
from spectro.clustering.config import MATCH_THRESHOLD
from spectro.formats import tokens
from spectro.formats.clusters.clusterings import (
    StoredClustering,
    find_clustering,
    read_clustering,
    shared_rows,
)


@dataclass(frozen=True, kw_only=True)
class ClusteringPair:
    """Two clusterings compared on their shared tokens."""

    a: StoredClustering
    b: StoredClustering
    comparison: Comparison


def compare_all(
    places: Sequence[str],
    *,
    threshold: float = MATCH_THRESHOLD,
    seed: int = 0,
    same_token: bool = False,
) -> list[ClusteringPair]:
    """Compare every pair of clusterings, in order.

    Args:
        places: URIs of runs, parts of runs or folders of clusters, at least two.
        threshold: least Jaccard index of a matched pair.
        seed: key of the shuffles.
        same_token: shuffle only among tokens of the same y.

    Raises ValueError, in one line, for a URI without clusters and a pair without shared tokens;
    DamagedObjectError.
    """
    stored = [read_clustering(place) for place in [find_clustering(uri) for uri in places]]
    return [_pair(a, b, threshold, seed, same_token) for a, b in combinations(stored, 2)]


def _pair(
    a: StoredClustering, b: StoredClustering, threshold: float, seed: int, same_token: bool
) -> ClusteringPair:
    row_of_a, row_of_b, num_rows = shared_rows(a, b)
    comparison = compare(
        a.among(row_of_a, num_rows),
        b.among(row_of_b, num_rows),
        threshold=threshold,
        seed=seed,
        within_N=_targets(a, row_of_a, num_rows) if same_token else None,
    )
    return ClusteringPair(a=a, b=b, comparison=comparison)


def _targets(
    clustering: StoredClustering, row_N: NDArray[np.int64], num_rows: int
) -> NDArray[np.int32]:
    """y of every row."""
    sequences = tokens.read_split(clustering.place.root, "probe")
    target_N = sequences.ids_ST1[:, 1:].reshape(-1)[: row_N.size]
    kept = row_N >= 0
    result = np.empty(num_rows, np.int32)
    result[row_N[kept]] = target_N[kept]
    return result
