"""Clusterings as sets of tokens, and best matches by Jaccard index (ADR 027).

Clusters are sets of rows 0 … N−1: they may overlap, and rows may be in none. Linear in the members.
Shapes: N tokens, M members, C clusters of one clustering.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

BLOCK_MEMBERS = 1 << 22
"""Members counted at once: bounds memory with overlaps."""


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """Clusters as sets of rows; cluster c has rows[indptr[c] : indptr[c+1]], each once."""

    indptr: NDArray[np.int64]
    """[C + 1]."""
    rows: NDArray[np.int64]
    """[M], within 0 … N−1."""
    num_tokens: int
    """N."""

    @classmethod
    def of(cls, members: Sequence[NDArray[np.integer]], num_tokens: int) -> "Clustering":
        """From one array of rows per cluster; ValueError on rows outside 0 … N−1 or repeated."""
        sizes = np.array([rows.size for rows in members], np.int64)
        cluster_M = np.repeat(np.arange(sizes.size), sizes)
        row_M = np.concatenate([*members, np.empty(0, np.int64)]).astype(np.int64)
        return cls.of_pairs(cluster_M, row_M, sizes.size, num_tokens)

    @classmethod
    def of_pairs(
        cls,
        cluster_M: NDArray[np.integer],
        row_M: NDArray[np.integer],
        num_clusters: int,
        num_tokens: int,
    ) -> "Clustering":
        """From (cluster, row) pairs in any order; ValueError as `of`."""
        if row_M.size and (row_M.min() < 0 or row_M.max() >= num_tokens):
            raise ValueError(
                f"expected members within rows 0 … {num_tokens - 1}, found {row_M.min()} … "
                f"{row_M.max()}: are these clusters of other tokens?"
            )
        order = np.lexsort((row_M, cluster_M))
        cluster_M, rows = cluster_M[order], row_M[order].astype(np.int64)
        if np.any((np.diff(cluster_M) == 0) & (np.diff(rows) == 0)):
            raise ValueError("expected every token once per cluster, found one twice: damaged?")
        sizes = np.bincount(cluster_M, minlength=num_clusters)
        indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return cls(indptr=indptr, rows=rows, num_tokens=num_tokens)

    def __len__(self) -> int:
        return self.indptr.size - 1

    @property
    def size_C(self) -> NDArray[np.int64]:
        """Members of each cluster."""
        return np.diff(self.indptr)

    @property
    def cluster_M(self) -> NDArray[np.int64]:
        """Cluster of each member."""
        return np.repeat(np.arange(len(self)), self.size_C)

    @property
    def label_N(self) -> NDArray[np.int64]:
        """Cluster of every token, −1 for none; of overlapping ones the smallest, then the last."""
        label, cluster_M = np.full(self.num_tokens, -1, np.int64), self.cluster_M
        order = np.lexsort((-cluster_M, self.size_C[cluster_M]))
        rows, first = np.unique(self.rows[order], return_index=True)
        label[rows] = cluster_M[order][first]
        return label

    def shuffled(self, order_N: NDArray[np.integer]) -> "Clustering":
        """The sets after a permutation: row r becomes order_N[r]."""
        return Clustering.of_pairs(self.cluster_M, order_N[self.rows], len(self), self.num_tokens)

    def matrix(self) -> "sparse.csr_matrix":
        """Indicator [C, N], int32."""
        ones = np.ones(self.rows.size, np.int32)
        return sparse.csr_matrix((ones, self.rows, self.indptr), (len(self), self.num_tokens))


@dataclass(frozen=True, kw_only=True)
class BestMatches:
    """Most similar cluster of another clustering, per cluster."""

    match_C: NDArray[np.int32]
    """Its id, smallest of ties; −1 if none shares a token."""
    jaccard_C: NDArray[np.float32]
    """|A ∩ B| / |A ∪ B|; 0 without a match."""


def best_matches(a: Clustering, b: Clustering) -> BestMatches:
    """Best Jaccard index of every cluster of `a` among those of `b`."""
    _require_same_tokens(a, b)
    match_C = np.full(len(a), -1, np.int32)
    jaccard_C = np.zeros(len(a), np.float32)
    columns, size_b = b.matrix().T.tocsr(), b.size_C
    matrix = a.matrix()
    for start, stop in _blocks(a.indptr):
        shared = (matrix[start:stop] @ columns).tocoo()
        row, column = shared.row, shared.col
        union = a.size_C[start:stop][row] + size_b[column] - shared.data
        jaccard = shared.data / union
        order = np.lexsort((column, -jaccard, row))
        rows, first = np.unique(row[order], return_index=True)
        match_C[start + rows] = column[order][first]
        jaccard_C[start + rows] = jaccard[order][first]
    return BestMatches(match_C=match_C, jaccard_C=jaccard_C)


def best_jaccard(
    members_a: Sequence[NDArray[np.integer]],
    members_b: Sequence[NDArray[np.integer]],
    num_tokens: int,
) -> NDArray[np.float32]:
    """Best Jaccard index of every cluster of `members_a` among `members_b`, float32 [C]."""
    a, b = Clustering.of(members_a, num_tokens), Clustering.of(members_b, num_tokens)
    return best_matches(a, b).jaccard_C


def stability(
    members: Sequence[NDArray[np.integer]],
    halves: Sequence[Sequence[NDArray[np.integer]]],
    num_tokens: int,
) -> NDArray[np.float32]:
    """Stability: least of each cluster's best Jaccard indices over clusterings of halves, float32
    [C].

    The halves come from disjoint halves of the chains: 1 means that both find exactly this cluster,
    0 that one of them finds nothing of it. ValueError without a half.
    """
    if not halves:
        raise ValueError("stability needs clusterings of halves of the chains, found none")
    result: NDArray[np.float32] = np.minimum.reduce(
        [best_jaccard(members, half, num_tokens) for half in halves]
    )
    return result


def _blocks(indptr: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Ranges of clusters of about BLOCK_MEMBERS members, at least one cluster each."""
    num_clusters = indptr.size - 1
    bounds = [0]
    while bounds[-1] < num_clusters:
        limit = indptr[bounds[-1]] + BLOCK_MEMBERS
        stop = int(np.searchsorted(indptr, limit, side="right")) - 1
        bounds.append(max(bounds[-1] + 1, stop))
    return list(pairwise(bounds))


def _require_same_tokens(a: Clustering, b: Clustering) -> None:
    if a.num_tokens != b.num_tokens:
        raise ValueError(
            f"expected clusterings of the same tokens, found {a.num_tokens} and {b.num_tokens}: "
            "reduce both to the tokens that they share"
        )
