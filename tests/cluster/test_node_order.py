"""The order of the graph's nodes: every token once, and near ones side by side."""

import numpy as np
import pytest
from planted import mixture
from test_graph import CASES

from spectro.clustering.clusters import build_graph
from spectro.clustering.config import ClusterConfig
from spectro.clustering.graph.node_order import PIECE, inverse, locality_order
from spectro.clustering.graph.weighted_graph import Graph, self_tuning_graph
from spectro.clustering.vectors.preprocess import fit_transform


@pytest.mark.parametrize("name", CASES)
def test_every_token_stands_somewhere(name: str):
    index_Nk = CASES[name].index_Nk
    order = locality_order(index_Nk)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(index_Nk)))
    np.testing.assert_array_equal(order[inverse(order)], np.arange(len(index_Nk)))
    graph = self_tuning_graph(CASES[name])
    np.testing.assert_array_equal(graph.token_N, order)
    np.testing.assert_array_equal(graph.node_N, inverse(order))


def test_a_piece_is_walked_along_the_lists():
    # Two rings that lie among each other: even tokens list even ones.
    step = np.array([2, -2, 4])
    index_Nk = ((np.arange(20)[:, None] + step) % 20).astype(np.int32)
    assert locality_order(index_Nk).tolist()[:8] == [0, 2, 18, 4, 6, 16, 8, 10]
    assert sorted(locality_order(index_Nk).tolist()[:10]) == list(range(0, 20, 2))


def test_a_piece_ends_and_another_is_begun_at_the_first_token_that_is_left():
    num_tokens = 3 * PIECE
    next_one = (np.arange(num_tokens)[:, None] + 2) % num_tokens  # all even ones, then all odd
    order = locality_order(next_one.astype(np.int32))
    assert order[:PIECE].tolist() == list(range(0, 2 * PIECE, 2))
    assert order[PIECE : PIECE + 3].tolist() == [1, 3, 5]


def near_share(graph: Graph) -> float:
    """Of the edges, those whose ends stand within a piece's length of each other."""
    node = np.repeat(np.arange(graph.num_nodes), np.diff(graph.indptr))
    return float((np.abs(node - graph.indices) < PIECE).mean())


def test_neighbours_that_were_anywhere_stand_near_each_other():
    chi, _ = mixture(sizes=[300] * 20, num_body=14_000, num_columns=8, seed=3)
    rows = np.random.default_rng(0).permutation(len(chi))
    config = ClusterConfig(num_neighbours=15)
    graph = build_graph(fit_transform(chi, config).apply(chi[rows]), config)
    anywhere = 2 * PIECE / graph.num_nodes
    assert near_share(graph) > 4 * anywhere  # most of a body lies near nothing: not more of it
