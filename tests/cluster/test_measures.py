"""Statistics of a graph against SciPy and the dense matrix."""

from dataclasses import asdict

import numpy as np
import pytest
import scipy.sparse as sparse
from planted import dense, random_graph
from scipy.sparse.csgraph import connected_components

from spectro.clustering.graph.graph_statistics import graph_statistics
from spectro.clustering.graph.weighted_graph import Graph, from_matrix, self_tuning_graph
from spectro.clustering.knn.neighbours import Neighbours

PATH = from_matrix(sparse.diags([1.0, 1.0], [1, -1], shape=(500, 500)).tocsr())
"""The longest chain of unions."""
GRAPHS = {
    "dense": random_graph(num_nodes=60, density=0.2),
    "many pieces": random_graph(num_nodes=200, density=0.006),
    "self loops": random_graph(num_nodes=80, density=0.01, self_loops=True),
    "path": PATH,
    "path, shuffled": from_matrix(
        PATH.adjacency()[np.random.default_rng(0).permutation(500)][
            :, np.random.default_rng(0).permutation(500)
        ]
    ),
    "no edge": from_matrix(sparse.csr_matrix((5, 5))),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_against_scipy(name: str):
    graph = GRAPHS[name]
    found, adjacency = graph_statistics(graph), dense(graph)
    num_components, label = connected_components(sparse.csr_matrix(adjacency), directed=False)
    assert found.num_components == num_components
    assert found.largest_component == np.bincount(label).max()
    assert found.num_edges == np.count_nonzero(np.triu(adjacency))
    assert found.num_isolated == (adjacency.sum(axis=1) == 0).sum()
    assert found.most_neighbours == np.count_nonzero(adjacency, axis=1).max()
    assert found.volume == pytest.approx(adjacency.sum())
    assert found.degree_percentiles["100"] == pytest.approx(adjacency.sum(axis=1).max())
    assert found.degree_percentiles["50"] in graph.degrees
    assert found.mutual_share is None


def test_share_of_mutual_edges():
    # 0 and 1 list each other; 2 and 3 list 0 and are listed by none.
    neighbours = Neighbours(
        index_Nk=np.array([[1], [0], [0], [0]], np.int32),
        distance_Nk=np.ones((4, 1), np.float32),
    )
    found = graph_statistics(self_tuning_graph(neighbours))
    assert (found.num_edges, found.mutual_share) == (3, pytest.approx(1 / 3))
    assert all(isinstance(v, int | float | dict) for v in asdict(found).values())


def test_no_node():
    empty = Graph(
        indptr=np.zeros(1, np.int64),
        indices=np.empty(0, np.int32),
        weights=np.empty(0, np.float32),
        degrees=np.empty(0, np.float64),
        token_N=np.empty(0, np.int32),
        node_N=np.empty(0, np.int32),
    )
    assert graph_statistics(empty).num_components == 0
