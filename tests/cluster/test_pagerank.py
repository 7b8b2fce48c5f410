"""The push against a dense solve of the lazy walk's equation."""

import numpy as np
import pytest
import scipy.sparse as sparse
from planted import dense, random_graph

from spectro.clustering.graph.weighted_graph import Graph, from_matrix
from spectro.clustering.local.pagerank import push
from spectro.clustering.local.seed_proposal import UNLIMITED_PUSHES
from spectro.clustering.local.workspace import LocalCsr, Workspace, reset

ALPHA = 0.01


def exact(graph: Graph, seed: int, removed: np.ndarray | None = None) -> np.ndarray:
    """pr = α e + (1 − α) (I + A D⁻¹)/2 pr; an isolated node keeps its mass."""
    adjacency, degrees = dense(graph), graph.degrees.copy()
    isolated = degrees == 0
    walk = adjacency / np.where(isolated, 1, degrees)
    walk[isolated, isolated] = 1
    lazy = (np.eye(degrees.size) + walk) / 2
    if removed is not None:
        lazy[removed == 1] = 0  # what steps there is gone
    start = np.eye(degrees.size)[seed]
    return np.linalg.solve(np.eye(degrees.size) - (1 - ALPHA) * lazy, ALPHA * start)


def approximate(
    graph: Graph,
    seed: int,
    epsilon: float,
    removed: np.ndarray | None = None,
    max_pushes: int = UNLIMITED_PUSHES,
) -> tuple[np.ndarray, np.ndarray, int]:
    gone = np.zeros(graph.num_nodes, np.uint8) if removed is None else removed
    workspace = Workspace(gone)
    csr = LocalCsr(graph.indptr, graph.indices, graph.weights, graph.degrees)
    before = workspace.local.slot_of.copy()
    num_slots, num_pushes, _, complete = push(
        csr, workspace.local, seed, ALPHA, epsilon, max_pushes
    )
    assert complete
    node = workspace.local.node[:num_slots]
    assert np.unique(node).size == num_slots
    degree = np.where(graph.degrees[node] > 0, graph.degrees[node], 1)
    p, r = np.zeros((2, graph.num_nodes))
    p[node] = workspace.local.score[:num_slots] * degree
    r[node] = workspace.local.mass[:num_slots, 0] * degree
    reset(workspace.local, num_slots)
    np.testing.assert_array_equal(workspace.local.slot_of, before)
    return p, r, num_pushes


GRAPHS = {
    "weights": random_graph(num_nodes=60, density=0.15),
    "self loops": random_graph(num_nodes=60, density=0.15, self_loops=True),
    "isolated nodes and pieces": random_graph(num_nodes=60, density=0.02),
    "two pieces": from_matrix(
        sparse.block_diag(
            [random_graph(num_nodes=30, density=0.3, seed=s).adjacency() for s in (1, 2)]
        )
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_against_a_dense_solve(name: str):
    graph = GRAPHS[name]
    for seed in range(0, 60, 7):
        p, r, _ = approximate(graph, seed, epsilon=1e-9)
        np.testing.assert_allclose(p, exact(graph, seed), atol=1e-9 * graph.degrees.max())
        assert p.sum() + r.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("epsilon", [1e-2, 1e-4])
def test_error_stays_below_tolerance_times_degree(name: str, epsilon: float):
    graph = GRAPHS[name]
    for seed in range(0, 60, 11):
        p, r, num_pushes = approximate(graph, seed, epsilon)
        error = exact(graph, seed) - p
        assert (error >= -1e-12).all()
        assert (error <= epsilon * graph.degrees + 1e-12).all()
        assert (r <= epsilon * graph.degrees * (1 + 1e-12)).all()
        # Each push moves β r ≥ β ε degree into p, and p sums to one.
        smallest = graph.degrees[graph.degrees > 0].min()
        assert num_pushes <= 1 / (2 * ALPHA / (1 + ALPHA) * epsilon * smallest) + 1


def test_the_invariant_holds_wherever_the_push_stops():
    graph = GRAPHS["weights"]
    all_exact = np.stack([exact(graph, node) for node in range(60)], axis=1)
    p, r, num_pushes = approximate(graph, 0, epsilon=1e-9, max_pushes=50)
    assert num_pushes == 50
    np.testing.assert_allclose(p + all_exact @ r, all_exact[:, 0], atol=1e-12)


def test_mass_that_enters_removed_nodes_is_gone():
    graph = GRAPHS["weights"]
    removed = np.zeros(60, np.uint8)
    removed[::5] = 1
    p, _, _ = approximate(graph, 1, 1e-10, removed)
    assert not p[removed == 1].any()
    np.testing.assert_allclose(p, exact(graph, 1, removed), atol=1e-8)


def test_a_loose_tolerance_stays_local():
    # A ring of 1000: the mass must not go round.
    ring = sparse.diags([1.0, 1.0], [1, -1], shape=(1000, 1000)).tolil()
    ring[0, 999] = ring[999, 0] = 1.0
    p, _, _ = approximate(from_matrix(ring.tocsr()), 500, epsilon=1e-3)
    assert 1 < np.count_nonzero(p) < 100
