"""The graph of lists against SciPy's sums, in memory and in files, and lists that are none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sparse
from planted import dense, random_graph

from spectro.clustering.graph.knn_graph import MIN_WEIGHT, SIGMA_FLOOR
from spectro.clustering.graph.weighted_graph import COMPLETE, Graph, self_tuning_graph
from spectro.clustering.knn.neighbours import Neighbours

ARRAYS = ("indptr", "indices", "weights", "degrees")


def lists(x: np.ndarray, k: int) -> Neighbours:
    """By brute force, ties by index; distances in float32 as they are stored."""
    distance = np.sqrt(((x[:, None, :] - x[None, :, :]) ** 2).sum(-1))
    np.fill_diagonal(distance, np.inf)
    index = np.argsort(distance, axis=1, kind="stable")[:, :k].astype(np.int32)
    found = np.take_along_axis(distance, index, axis=1).astype(np.float32)
    return Neighbours(index_Nk=index, distance_Nk=found)


def random_lists(num_nodes: int = 300, k: int = 9, seed: int = 0) -> Neighbours:
    """No geometry: the ends of a mutual edge disagree on its length, hubs are listed by most."""
    rng = np.random.default_rng(seed)
    popular = rng.random(num_nodes) ** 6
    chosen = [
        rng.choice(num_nodes, k, replace=False, p=_without(popular, node))
        for node in range(num_nodes)
    ]
    scale = 10.0 ** rng.uniform(-2.5, 1, size=(num_nodes, 1))
    distance = np.sort(rng.random((num_nodes, k)), axis=1) * scale
    return Neighbours(index_Nk=np.array(chosen, np.int32), distance_Nk=distance.astype(np.float32))


def _without(weight: np.ndarray, node: int) -> np.ndarray:
    weight = weight.copy()
    weight[node] = 0
    return weight / weight.sum()


def by_scipy(neighbours: Neighbours) -> np.ndarray:
    """The definition on a dense matrix: nearest listing, σ floored, light edges left out."""
    num_nodes, k = neighbours.index_Nk.shape
    d = neighbours.distance_Nk.astype(np.float64)
    sigma = np.maximum(d[:, -1], SIGMA_FLOOR * np.median(d[:, -1][d[:, -1] > 0]))
    weight = np.exp(-(d**2) / (sigma[:, None] * sigma[neighbours.index_Nk]))
    weight[weight < MIN_WEIGHT] = 0
    rows = np.repeat(np.arange(num_nodes), k)
    directed = sparse.csr_matrix(
        (weight.ravel(), (rows, neighbours.index_Nk.ravel())), shape=(num_nodes, num_nodes)
    )
    return directed.maximum(directed.T).toarray()


def tight_and_loose() -> Neighbours:
    """A dense clump and far tokens that list it: their edges weigh less than MIN_WEIGHT."""
    rng = np.random.default_rng(2)
    clump = rng.normal(size=(12, 3)) * 1e-3
    return lists(np.concatenate([clump, rng.normal(size=(5, 3)) * 2, rng.normal(size=(40, 3))]), 6)


CASES = {
    "random": random_lists(),
    "geometric": lists(np.random.default_rng(1).normal(size=(200, 4)), 10),
    "duplicates": lists(np.repeat(np.random.default_rng(3).normal(size=(30, 2)), 4, axis=0), 7),
    "light edges": tight_and_loose(),
    "one neighbour": lists(np.random.default_rng(4).normal(size=(20, 2)), 1),
    "two tokens": lists(np.array([[0.0], [1.0]]), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_against_scipy(name: str):
    graph, expected = self_tuning_graph(CASES[name]), by_scipy(CASES[name])
    adjacency = dense(graph)
    np.testing.assert_allclose(adjacency, expected, rtol=1e-6, atol=0)
    np.testing.assert_array_equal(adjacency > 0, expected > 0)
    np.testing.assert_array_equal(adjacency, adjacency.T)
    np.testing.assert_allclose(graph.degrees[graph.node_N], expected.sum(axis=1), rtol=1e-6)
    assert [graph.indptr.dtype, graph.indices.dtype, graph.weights.dtype, graph.degrees.dtype] == [
        np.int64, np.int32, np.float32, np.float64,
    ]  # fmt: skip
    for row in range(graph.num_nodes):
        assert (np.diff(graph.indices[graph.indptr[row] : graph.indptr[row + 1]]) > 0).all()


def test_the_case_of_light_edges_has_some():
    listed = by_scipy(CASES["light edges"])
    index = CASES["light edges"].index_Nk
    assert (listed[np.arange(len(index))[:, None], index] == 0).any()


@pytest.mark.parametrize("name", CASES)
def test_mutual_edges_are_counted(name: str):
    expected = by_scipy(CASES[name]) > 0
    listed = np.zeros(expected.shape, bool)
    np.put_along_axis(listed, CASES[name].index_Nk.astype(np.int64), True, axis=1)
    assert self_tuning_graph(CASES[name]).num_mutual == (listed & listed.T & expected).sum() // 2


@pytest.mark.parametrize("num_threads", [2, 3, 7, 1000])
def test_threads_change_no_bit(num_threads: int):
    alone = self_tuning_graph(CASES["random"])
    shared = self_tuning_graph(CASES["random"], num_threads=num_threads)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(shared, name), getattr(alone, name))


def test_relabelled_tokens_give_the_relabelled_graph():
    neighbours = CASES["random"]
    order = np.random.default_rng(7).permutation(300)
    place = np.argsort(order).astype(np.int32)
    moved = Neighbours(
        index_Nk=place[neighbours.index_Nk[order]], distance_Nk=neighbours.distance_Nk[order]
    )
    expected = dense(self_tuning_graph(neighbours))[np.ix_(order, order)]
    np.testing.assert_array_equal(dense(self_tuning_graph(moved)), expected)


def test_files_hold_the_same_graph(tmp_path: Path):
    neighbours = CASES["random"]
    for name, array in {"i": neighbours.index_Nk, "d": neighbours.distance_Nk}.items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = Neighbours(
        index_Nk=np.load(tmp_path / "i.npy", mmap_mode="r"),
        distance_Nk=np.load(tmp_path / "d.npy", mmap_mode="r"),
    )
    created = Graph.create(tmp_path / "graph", mapped, num_threads=2)
    opened, memory = Graph.open(tmp_path / "graph"), self_tuning_graph(neighbours)
    for name in ARRAYS:
        for graph in (created, opened):
            np.testing.assert_array_equal(getattr(graph, name), getattr(memory, name))
        assert isinstance(getattr(opened, name).base, np.memmap)
        assert not getattr(opened, name).flags.writeable
    assert opened.num_mutual == memory.num_mutual
    nodes = np.arange(40, dtype=np.int32)
    assert opened.conductance(nodes) == memory.conductance(nodes)


def test_an_unfinished_folder_is_refused_and_written_anew(tmp_path: Path):
    folder = tmp_path / "graph"
    Graph.create(folder, CASES["geometric"])
    (folder / COMPLETE).unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {COMPLETE}"):
        Graph.open(folder)
    again = Graph.create(folder, CASES["random"])
    assert again.num_nodes == 300


def test_a_failed_build_leaves_no_finished_folder(tmp_path: Path):
    Graph.create(tmp_path, CASES["geometric"])
    with pytest.raises(ValueError, match="coincide"):
        Graph.create(tmp_path, _changed(distance_Nk=np.zeros((20, 1), np.float32)))
    assert not (tmp_path / COMPLETE).exists()


def _changed(**arrays: np.ndarray) -> Neighbours:
    return replace(CASES["one neighbour"], **arrays)


def _with(name: str, value: float) -> Neighbours:
    array = getattr(CASES["geometric"], name).copy()
    array[11, 4] = value
    return replace(CASES["geometric"], **{name: array})


@pytest.mark.parametrize(
    "neighbours",
    [
        _with("index_Nk", -1),
        _with("index_Nk", 200),
        _with("index_Nk", 11),
        _with("distance_Nk", np.nan),
        _with("distance_Nk", np.inf),
        _with("distance_Nk", -1.0),
        _with("distance_Nk", 1e3),
    ],
)
@pytest.mark.parametrize("num_threads", [1, 3])
def test_lists_that_are_none(neighbours: Neighbours, num_threads: int):
    with pytest.raises(ValueError, match=r"for token 11: is the list of another run"):
        self_tuning_graph(neighbours, num_threads=num_threads)


def test_a_token_listed_twice():
    index = CASES["geometric"].index_Nk.copy()
    index[11, 4] = index[11, 0]
    with pytest.raises(ValueError, match=r"names token \d+ twice"):
        self_tuning_graph(replace(CASES["geometric"], index_Nk=index))


def test_all_tokens_equal():
    others = (np.arange(60)[:, None] + np.arange(1, 46)) % 60
    same = Neighbours(index_Nk=others.astype(np.int32), distance_Nk=np.zeros((60, 45), np.float32))
    with pytest.raises(ValueError, match="all 60 tokens coincide"):
        self_tuning_graph(same)


def test_a_pile_of_duplicates_is_a_piece_of_its_own():
    rng = np.random.default_rng(0)
    pile = np.tile(rng.normal(size=(1, 6)), (30, 1)) + 40
    graph = self_tuning_graph(lists(np.concatenate([pile, rng.normal(size=(200, 6))]), 10))
    assert np.isfinite(graph.weights).all() and (graph.degrees[:30] >= 10).all()
    assert graph.conductance(np.arange(30, dtype=np.int32)) < 1e-6


@pytest.mark.parametrize("self_loops", [False, True])
def test_conductance_and_degrees_by_definition(self_loops: bool):
    graph = random_graph(num_nodes=30, density=0.2, self_loops=self_loops)
    adjacency = dense(graph)
    np.testing.assert_allclose(graph.degrees, adjacency.sum(1))
    rng = np.random.default_rng(3)
    for size in (1, 7, 25):
        nodes = rng.choice(30, size, replace=False).astype(np.int32)
        inside = np.isin(np.arange(30), nodes)
        smaller = min(adjacency[inside].sum(), adjacency[~inside].sum())
        expected = adjacency[inside][:, ~inside].sum() / smaller
        assert graph.conductance(nodes) == pytest.approx(expected, rel=1e-6)
    assert graph.conductance(np.arange(30, dtype=np.int32)) == 1.0
    assert graph.conductance(np.empty(0, np.int32)) == 1.0
