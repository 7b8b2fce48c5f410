"""Summary statistics of the kNN graph.

Shapes: N nodes, E stored entries.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spectro.clustering.graph.weighted_graph import Graph

PERCENTILES = (0, 5, 25, 50, 75, 95, 100)


@dataclass(frozen=True, kw_only=True)
class GraphStatistics:
    """Counts and shares, all plain numbers."""

    num_nodes: int
    """N."""
    num_edges: int
    """Undirected edges, self loops among them."""
    volume: float
    """Sum of all degrees."""
    num_isolated: int
    """Nodes without an edge."""
    num_components: int
    """Connected components, isolated nodes among them."""
    largest_component: int
    """Nodes of the largest."""
    degree_percentiles: dict[str, float]
    """Weighted degree: least, 5, 25, 50, 75, 95 % and largest."""
    most_neighbours: int
    """Entries of the fullest row (a hub)."""
    mutual_share: float | None
    """Share of mutual edges; None if not made of lists."""


def graph_statistics(graph: Graph) -> GraphStatistics:
    """One pass over the edges; holds about 26 bytes per node and copies no entry."""
    sizes = _component_sizes(graph.indptr, graph.indices)
    num_loops = _num_loops(graph.indptr, graph.indices)
    num_edges = (graph.indices.size + num_loops) // 2
    num_neighbours = np.diff(graph.indptr)
    mutual = graph.num_mutual
    return GraphStatistics(
        num_nodes=graph.num_nodes,
        num_edges=int(num_edges),
        volume=graph.volume,
        num_isolated=int((num_neighbours == 0).sum()),
        num_components=sizes.size,
        largest_component=int(sizes.max(initial=0)),
        degree_percentiles=_percentiles(graph.degrees),
        most_neighbours=int(num_neighbours.max(initial=0)),
        mutual_share=None if mutual is None else mutual / max(num_edges, 1),
    )


def _percentiles(degrees: NDArray[np.float64]) -> dict[str, float]:
    if degrees.size == 0:
        return {}
    values = np.percentile(degrees, PERCENTILES, method="lower").tolist()
    return {str(share): value for share, value in zip(PERCENTILES, values, strict=True)}


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _component_sizes(indptr: NDArray[np.int64], indices: NDArray[np.int32]) -> NDArray[np.int64]:
    """Nodes of every connected component (union-find with path halving).

    SciPy's version copies all weights to float64, too much for a graph on disk.
    """
    num_nodes = indptr.size - 1
    parent = np.arange(num_nodes).astype(np.int32)
    for node in range(num_nodes):
        for entry in range(indptr[node], indptr[node + 1]):
            a, b = _root(parent, node), _root(parent, indices[entry])
            if a < b:  # the least node of a component is its root
                parent[b] = a
            elif b < a:
                parent[a] = b
    size = np.zeros(num_nodes, np.int64)
    for node in range(num_nodes):
        size[_root(parent, node)] += 1
    return size[size > 0]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _root(parent: NDArray[np.int32], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _num_loops(indptr: NDArray[np.int64], indices: NDArray[np.int32]) -> int:
    num_loops = 0
    for node in range(indptr.size - 1):
        for entry in range(indptr[node], indptr[node + 1]):
            if indices[entry] == node:
                num_loops += 1
    return num_loops
