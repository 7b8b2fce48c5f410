"""Per-cluster means and counts, accumulated block by block over the tokens.

Float64 sums in row order, so that the blocks do not change a bit.
Memory is O(C·(D + H) + M + one block).
Shapes: B tokens of a block, M members, C clusters, H components, D dimensions, S subsets.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.matching import Clustering

NUM_TOP_TOKENS = 10
"""Most common targets y of a cluster."""


@dataclass(frozen=True, kw_only=True)
class ClusterSummary:
    """Means and counts, one entry per cluster."""

    centroid_CD: NDArray[np.float32]
    """Mean of the members in the preprocessed space."""
    mean_chi_CH: NDArray[np.float32]
    """Mean of the members' standardised χ."""
    top_tokens: tuple[NDArray[np.int32], ...]
    """Most common y, most common first, ties by token."""
    top_counts: tuple[NDArray[np.int32], ...]
    """How often each occurs in the cluster."""
    subset_counts_CS: NDArray[np.int32]
    """Members from each subset."""


class ClusterSums:
    """Accumulates rows in order; `finish` gives means and counts."""

    def __init__(self, clusters: Clustering, num_subsets: int) -> None:
        self._size_C, self._num_tokens = clusters.size_C, clusters.num_tokens
        order = np.argsort(clusters.rows, kind="stable")
        self._row_M, self._cluster_M = clusters.rows[order], clusters.cluster_M[order]
        self._target_M = np.empty(order.size, np.int32)
        self._subset_CS = np.zeros((len(clusters), num_subsets), np.int64)
        self._x_CD: NDArray[np.float64] | None = None
        self._chi_CH: NDArray[np.float64] | None = None
        self._next = 0

    def add(
        self,
        chi_BH: NDArray[np.float32],
        x_BD: NDArray[np.float32],
        token_B: NDArray[np.int32],
        subset_B: NDArray[np.int16],
    ) -> None:
        """Add the next rows: standardised χ, vectors, y, index of the subset.

        Raises ValueError for too many rows, or arrays of different lengths.
        """
        stop = self._next + token_B.size
        if stop > self._num_tokens or not len(chi_BH) == len(x_BD) == subset_B.size == token_B.size:
            raise ValueError(
                f"expected {self._num_tokens - self._next} more rows at most, found {len(chi_BH)} "
                f"of χ, {len(x_BD)} vectors, {token_B.size} tokens, {subset_B.size} subsets: "
                "are they of the rows that were clustered?"
            )
        if self._x_CD is None or self._chi_CH is None:
            num_clusters = self._size_C.size
            self._x_CD = np.zeros((num_clusters, x_BD.shape[1]))
            self._chi_CH = np.zeros((num_clusters, chi_BH.shape[1]))
        span = slice(*np.searchsorted(self._row_M, [self._next, stop]))
        place, cluster = self._row_M[span] - self._next, self._cluster_M[span]
        # Unbuffered, row after row: the same sums for any blocks.
        np.add.at(self._x_CD, cluster, x_BD[place].astype(np.float64))
        np.add.at(self._chi_CH, cluster, chi_BH[place].astype(np.float64))
        np.add.at(self._subset_CS, (cluster, subset_B[place]), 1)
        self._target_M[span] = token_B[place]
        self._next = stop

    def finish(self) -> ClusterSummary:
        """Means and counts; ValueError unless all rows were added."""
        if self._next != self._num_tokens or self._x_CD is None or self._chi_CH is None:
            raise ValueError(
                f"expected {self._num_tokens} rows, found {self._next}: is the product whole?"
            )
        size_C1 = np.maximum(self._size_C, 1)[:, None]
        tops = top_tokens(self._cluster_M, self._target_M, self._size_C.size)
        return ClusterSummary(
            centroid_CD=(self._x_CD / size_C1).astype(np.float32),
            mean_chi_CH=(self._chi_CH / size_C1).astype(np.float32),
            top_tokens=tuple(tokens for tokens, _ in tops),
            top_counts=tuple(counts for _, counts in tops),
            subset_counts_CS=self._subset_CS.astype(np.int32),
        )


def top_tokens(
    cluster_M: NDArray[np.integer], target_M: NDArray[np.int32], num_clusters: int
) -> list[tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """Most common y of every cluster with their counts; ties by token."""
    order = np.lexsort((target_M, cluster_M))
    cluster, target = cluster_M[order], target_M[order]
    new = np.ones(order.size, bool)
    new[1:] = (cluster[1:] != cluster[:-1]) | (target[1:] != target[:-1])
    starts = np.flatnonzero(new)
    counts = np.diff(np.append(starts, order.size))
    cluster, target = cluster[starts], target[starts]
    by_count = np.lexsort((target, -counts, cluster))
    bounds = np.searchsorted(cluster, np.arange(num_clusters + 1))
    picked = [by_count[low : min(high, low + NUM_TOP_TOKENS)] for low, high in pairwise(bounds)]
    return [(target[p].astype(np.int32), counts[p].astype(np.int32)) for p in picked]
