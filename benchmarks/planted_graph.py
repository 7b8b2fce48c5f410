"""A graph whose clusters are known, and its file: CSR and labels as plain arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from spectro.clustering.graph.weighted_graph import Graph, from_matrix

Int32 = NDArray[np.int32]

BODY = -1
"""Label of what belongs to no cluster."""


def planted_graph(
    *,
    num_nodes: int = 100_000,
    num_body: int = 60_000,
    cluster_size: int = 200,
    num_listed: int = 38,
    inside: float = 0.7,
    seed: int = 0,
) -> tuple[Graph, Int32]:
    """Clusters of one size in a random body; unweighted, mean degree about 2 · num_listed.

    Every node lists `num_listed` others: a member of a cluster lists members with probability
    `inside`, everybody else lists anybody. An edge exists if either end lists the other. Returns
    the graph and the labels, in random order of the nodes.
    """
    num_clusters, rest = divmod(num_nodes - num_body, cluster_size)
    if rest or num_clusters < 1:
        raise ValueError(
            f"{num_nodes - num_body} nodes outside the body are no whole number of clusters of "
            f"{cluster_size}: change one of the two"
        )
    rng = np.random.default_rng((seed, 6))
    label = (np.maximum(np.arange(num_nodes) - num_body, BODY) // cluster_size).astype(np.int32)
    source = np.repeat(np.arange(num_nodes), num_listed)
    target = rng.integers(0, num_nodes, source.size)
    is_inside = (label[source] != BODY) & (rng.random(source.size) < inside)
    first_of_cluster = num_body + label[source[is_inside]] * cluster_size
    target[is_inside] = first_of_cluster + rng.integers(0, cluster_size, int(is_inside.sum()))
    place = rng.permutation(num_nodes)
    keep = source != target
    rows, columns = place[source[keep]], place[target[keep]]
    listed = sparse.csr_matrix(
        (np.ones(rows.size, np.float32), (rows, columns)), shape=(num_nodes, num_nodes)
    )
    listed.data[:] = 1.0  # a pair drawn twice is one edge
    label_by_place = np.empty(num_nodes, np.int32)
    label_by_place[place] = label
    return from_matrix(listed.maximum(listed.T)), label_by_place


def write_graph(graph: Graph, label: Int32, path: Path) -> None:
    """CSR between tokens and their labels as plain arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    csr = graph.adjacency()
    csr.sort_indices()
    np.savez(path, indptr=csr.indptr, indices=csr.indices, weights=csr.data, label=label)


def read_graph(path: Path) -> tuple[Graph, Int32]:
    """Graph and labels that `write_graph` wrote, or another program in the same arrays."""
    arrays = np.load(path)
    num_nodes = arrays["indptr"].size - 1
    entries = (arrays["weights"], arrays["indices"], arrays["indptr"])
    return from_matrix(sparse.csr_matrix(entries, (num_nodes, num_nodes))), arrays["label"]


def f1(nodes: NDArray[np.integer], seed: int, label_N: Int32) -> float:
    """Of a set found from a seed against the seed's cluster; 0 for a seed in the body."""
    if label_N[seed] == BODY:
        return 0.0
    truth = label_N == label_N[seed]
    return 2.0 * float(truth[nodes].sum()) / float(truth.sum() + nodes.size)
