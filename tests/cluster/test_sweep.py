"""The sweep against conductances computed one prefix at a time from the definition."""

import numpy as np
import pytest
import scipy.sparse as sparse
from planted import random_graph

from spectro.cluster.graph import Graph, from_matrix
from spectro.cluster.sweep import sweep


def run(graph: Graph, ordered: np.ndarray, max_volume: float = np.inf) -> tuple[int, np.ndarray]:
    inside = np.zeros(graph.num_nodes, np.uint8)
    best, conductance = sweep(
        graph.indptr, graph.indices, graph.weights, graph.degrees,
        graph.volume, max_volume, ordered.astype(np.int32), inside,
    )  # fmt: skip
    assert not inside.any()
    return best, conductance


@pytest.mark.parametrize("self_loops", [False, True])
@pytest.mark.parametrize("density", [0.02, 0.3])
def test_against_brute_force(self_loops: bool, density: float):
    graph = random_graph(num_nodes=40, density=density, self_loops=self_loops)
    ordered = np.random.default_rng(1).permutation(40)
    best, found = run(graph, ordered)
    expected = [graph.conductance(ordered[: size + 1].astype(np.int32)) for size in range(40)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found[best - 1] == found.min()


def test_volume_bound_ends_the_sweep():
    graph = random_graph(num_nodes=40, density=0.3)
    ordered = np.arange(40)
    bound = graph.degrees[:13].sum() * (1 + 1e-9)
    best, found = run(graph, ordered, bound)
    assert found.size == 13 and best <= 13
    assert run(graph, ordered, 0.0)[0] == 0


def test_a_whole_component_is_found_and_the_whole_graph_is_not():
    pieces = [random_graph(num_nodes=n, density=0.6, seed=n).adjacency() for n in (12, 30)]
    graph = from_matrix(sparse.block_diag(pieces))
    best, found = run(graph, np.arange(42))
    assert best == 12 and found[11] == pytest.approx(0.0, abs=1e-9) and found[-1] == 1.0


def test_an_isolated_node_and_nothing_at_all():
    graph = from_matrix(sparse.csr_matrix((3, 3)))
    assert run(graph, np.array([1])) == (1, pytest.approx(np.ones(1)))
    best, found = run(graph, np.empty(0, np.int32))
    assert best == 0 and found.size == 0
