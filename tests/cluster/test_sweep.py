"""The sweep against conductances computed one prefix at a time, the choice against all pairs."""

import numpy as np
import pytest
import scipy.sparse as sparse
from planted import random_graph

from spectro.clustering.graph.weighted_graph import Graph, from_matrix
from spectro.clustering.local.sweep import choose_prefix, sweep
from spectro.clustering.local.workspace import LocalCsr, Workspace, copy_row, touch


def run(
    graph: Graph, ordered: np.ndarray, max_volume: float = np.inf
) -> tuple[np.ndarray, np.ndarray]:
    workspace = Workspace(np.zeros(graph.num_nodes, np.uint8))
    csr = LocalCsr(graph.indptr, graph.indices, graph.weights, graph.degrees)
    num_entries = 0
    for slot in range(graph.num_nodes):
        touch(csr, workspace.local, slot, slot)
    for slot in range(1, graph.num_nodes, 2):  # every other row is copied, as if pushed
        copy_row(csr, workspace.local, slot, graph.num_nodes, num_entries)
        num_entries = workspace.local.end[slot]
    order = ordered.astype(np.int32)
    return sweep(csr, workspace.local, graph.num_nodes, order, graph.volume, max_volume)


@pytest.mark.parametrize("self_loops", [False, True])
@pytest.mark.parametrize("density", [0.02, 0.3])
def test_against_brute_force(self_loops: bool, density: float):
    graph = random_graph(num_nodes=40, density=density, self_loops=self_loops)
    ordered = np.random.default_rng(1).permutation(40)
    found, volumes = run(graph, ordered)
    expected = [graph.conductance(ordered[: size + 1].astype(np.int32)) for size in range(40)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(volumes, np.cumsum(graph.degrees[ordered]))


def test_volume_bound_ends_the_sweep():
    graph = random_graph(num_nodes=40, density=0.3)
    bound = graph.degrees[:13].sum() * (1 + 1e-9)
    assert run(graph, np.arange(40), bound)[0].size == 13
    assert run(graph, np.arange(40), 0.0)[0].size == 0


def test_a_whole_component_is_found_and_the_whole_graph_is_not():
    pieces = [random_graph(num_nodes=n, density=0.6, seed=n).adjacency() for n in (12, 30)]
    graph = from_matrix(sparse.block_diag(pieces))
    found, volumes = run(graph, np.arange(42))
    assert found[11] == pytest.approx(0.0, abs=1e-9) and found[-1] == 1.0
    assert choose_prefix(found, volumes, volumes[-1], 5, np.inf, 1.0) == 12
    assert choose_prefix(found, volumes, volumes[-1], 5, np.inf, 1.25) == 12


def test_an_isolated_node_and_nothing_at_all():
    graph = from_matrix(sparse.csr_matrix((3, 3)))
    assert run(graph, np.array([1]))[0].tolist() == [1.0]
    found, volumes = run(graph, np.empty(0, np.int32))
    assert choose_prefix(found, volumes, 1.0, 1, np.inf, 1.25) == 0


def chosen_by_all_pairs(
    conductance: np.ndarray,
    volumes: np.ndarray,
    total: float,
    min_size: int,
    max_volume: float,
    rise: float,
) -> int:
    best = 0
    for i in range(conductance.size):
        later = [
            conductance[j] * min(volumes[j], total - volumes[j]) / volumes[j]
            for j in range(i + 1, conductance.size)
            if volumes[j] <= 2 * volumes[i]
        ]
        ends = conductance[i] == 0 or max(later, default=0.0) >= rise * conductance[i]
        allowed = rise <= 1 or (ends and i + 1 >= min_size)
        better = best == 0 or conductance[i] < conductance[best - 1]
        if allowed and better and volumes[i] <= max_volume:
            best = i + 1
    return best


@pytest.mark.parametrize("rise", [1.0, 1.05, 1.25, 2.0])
def test_choice_against_all_pairs(rise: float):
    rng = np.random.default_rng(0)
    for _ in range(200):
        size = rng.integers(1, 40)
        conductance = np.abs(np.cumsum(rng.normal(size=size))) * rng.integers(0, 2, size)
        volumes = np.cumsum(rng.uniform(0.1, 3.0, size))
        total = volumes[-1] * rng.uniform(1, 3)
        max_volume = rng.uniform(0, volumes[-1] * 1.2)
        assert choose_prefix(
            conductance, volumes, total, 4, max_volume, rise
        ) == chosen_by_all_pairs(conductance, volumes, total, 4, max_volume, rise)


def test_a_falling_profile_has_no_cluster():
    # What a seed in the main body sees: the larger, the less conductance.
    conductance, volumes = np.linspace(0.9, 0.3, 500), np.arange(1.0, 501.0)
    assert choose_prefix(conductance, volumes, 5000.0, 20, 500.0, 1.25) == 0
    assert choose_prefix(conductance, volumes, 5000.0, 20, 500.0, 1.0) == 500
