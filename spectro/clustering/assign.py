"""Assigns new tokens to existing clusters by their nearest clustered tokens (ADR 029).

A new token x has k nearest old tokens y in the space of the clusters' transform, each with the
weight of an edge of the graph,

    w(x, y) = exp(−‖x−y‖² / (σ_x σ_y)),  σ = distance to the k-th nearest old token,

and a cluster's share of the weight is the confidence that x belongs to it.
Shapes: M new tokens, N old tokens, D dimensions, k neighbours, C clusters.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from spectro.clustering.graph.knn_graph import LocalScales, local_scales
from spectro.clustering.knn.exact import exact_neighbours, row_blocks
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.matching import Clustering

NONE = -1
"""Cluster id of an unassigned token."""
BLOCK_ROWS = 65_536
"""Old tokens read at once: bounds memory."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Cluster and confidence of new tokens."""

    cluster_M: NDArray[np.int32]
    """Cluster, or NONE."""
    share_M: NDArray[np.float32]
    """Largest share of the weight of any cluster, assigned or not; 0 if no neighbour is
    clustered."""


def local_scales_of(x_ND: NDArray[np.float32], k: int) -> LocalScales:
    """Local scales σ of old tokens by exact search: distance to the k-th nearest other token.

    `x_ND` may be a memory map. ValueError unless N > k.
    """
    if x_ND.shape[0] <= k:
        raise ValueError(f"assigning with k = {k} needs more than {k} tokens that were clustered, "
                         f"found {x_ND.shape[0]}")  # fmt: skip
    last_N = np.empty(x_ND.shape[0], np.float32)
    for first, some_MD in row_blocks(x_ND, BLOCK_ROWS):
        rows = np.arange(first, first + some_MD.shape[0])
        found = exact_neighbours(some_MD, rows, row_blocks(x_ND, BLOCK_ROWS), k)
        last_N[rows] = found.distance_Nk[:, -1]
    return local_scales(last_N[:, None])


def neighbours_among(
    query_MD: NDArray[np.float32], x_ND: NDArray[np.float32], k: int
) -> Neighbours:
    """Exact kNN lists of new tokens among the old ones; `x_ND` may be a memory map."""
    none = np.full(query_MD.shape[0], NONE)
    return exact_neighbours(query_MD, none, row_blocks(x_ND, BLOCK_ROWS), k)


def assign(
    around: Neighbours,
    old: LocalScales,
    clusters: Clustering,
    *,
    min_share: float = 0.0,
) -> Assignment:
    """Assign every new token to the cluster of largest weight.

    It must exceed the weight outside all clusters, and `min_share` of the whole. Ties go to the
    smaller id. Overlapping clusters each count a shared neighbour in full.

    Args:
        around: kNN lists of the new tokens among the old.
        old: local scales of the old tokens.
        clusters: of the old tokens.
        min_share: in [0, 1).

    Raises ValueError if clusters, scales and lists are of different old tokens.
    """
    if not 0.0 <= min_share < 1.0:
        raise ValueError(f"min_share must be in [0, 1), found {min_share}")
    num_old = old.sigma_N.size
    if num_old != clusters.num_tokens or around.index_Nk.max(initial=-1) >= num_old:
        raise ValueError(
            f"found widths of {num_old} tokens, clusters of {clusters.num_tokens}, neighbours "
            f"up to row {around.index_Nk.max(initial=-1)}: are they of the same tokens?"
        )
    weight_Mk = _weights(around, old)
    total_M = weight_Mk.sum(axis=1)
    weights, none_M = _by_cluster(around, weight_Mk, clusters)
    cluster_M = np.full(total_M.size, NONE, np.int32)
    best_M = np.zeros(total_M.size)
    order = np.lexsort((weights.col, -weights.data, weights.row))
    rows, first = np.unique(weights.row[order], return_index=True)
    cluster_M[rows], best_M[rows] = weights.col[order][first], weights.data[order][first]
    belongs = (best_M > none_M) & (best_M > min_share * total_M)
    return Assignment(
        cluster_M=np.where(belongs, cluster_M, NONE).astype(np.int32),
        share_M=(best_M / total_M).astype(np.float32),
    )


def _weights(around: Neighbours, old: LocalScales) -> NDArray[np.float64]:
    """Weights as in the graph, scaled so that each token's largest is 1."""
    distance = around.distance_Nk.astype(np.float64)
    sigma_M = np.maximum(distance[:, -1], old.floor)
    exponent = distance**2 / (sigma_M[:, None] * old.sigma_N[around.index_Nk])
    result: NDArray[np.float64] = np.exp(exponent.min(axis=1, keepdims=True) - exponent)
    return result


def _by_cluster(
    around: Neighbours, weight_Mk: NDArray[np.float64], clusters: Clustering
) -> tuple["sparse.coo_matrix", NDArray[np.float64]]:
    """Weight per cluster [M, C] (sparse), and outside all clusters [M]."""
    num_new, k = weight_Mk.shape
    indptr = np.arange(num_new + 1, dtype=np.int64) * k
    entries = (weight_Mk.ravel(), around.index_Nk.ravel(), indptr)
    votes = sparse.csr_matrix(entries, (num_new, clusters.num_tokens))
    members = clusters.matrix().T.tocsr()
    in_none = np.diff(members.indptr) == 0
    return (votes @ members).tocoo(), (weight_Mk * in_none[around.index_Nk]).sum(axis=1)
