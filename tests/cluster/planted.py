"""Planted mixtures and small graphs, whose truth is known."""

import numpy as np
import scipy.sparse as sparse

from spectro.clustering.graph.weighted_graph import Graph, from_matrix


def mixture(
    *, sizes: list[int], num_body: int, num_columns: int = 16, spread: float = 0.3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Heavy-tailed correlated body (label −1) with clusters of the given sizes scattered in it.

    Returns χ float32 [N, H] in random order with columns of very different scales, labels [N].
    """
    rng = np.random.default_rng(seed)
    deviation = np.arange(1, num_columns + 1) ** -0.35
    rotation = np.linalg.qr(rng.normal(size=(num_columns, num_columns)))[0]

    def body(count: int) -> np.ndarray:
        tail = np.sqrt(rng.chisquare(5, (count, 1)) / 5)
        return rng.normal(size=(count, num_columns)) * deviation / tail

    parts, labels = [body(num_body)], [np.full(num_body, -1)]
    for label, size in enumerate(sizes):
        noise = rng.normal(size=(size, num_columns)) * deviation * spread
        parts.append(1.5 * body(1) + noise)
        labels.append(np.full(size, label))
    order = rng.permutation(num_body + sum(sizes))
    chi = (np.concatenate(parts) @ rotation)[order] * np.logspace(-3, 1, num_columns)
    return chi.astype(np.float32), np.concatenate(labels)[order]


def random_graph(
    *, num_nodes: int, density: float, seed: int = 0, self_loops: bool = False
) -> Graph:
    """Symmetric, with random weights; some nodes may have no edge."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((num_nodes, num_nodes)) < density, 0 if self_loops else 1)
    weights = np.where(upper, rng.uniform(0.1, 2.0, (num_nodes, num_nodes)), 0.0)
    return from_matrix(sparse.csr_matrix(np.maximum(weights, weights.T)))


def dense(graph: Graph) -> np.ndarray:
    """The adjacency matrix, float64."""
    return graph.adjacency().toarray().astype(np.float64)
