"""All pairs, each once: against the slow search, whatever bounds the distances."""

import itertools

import numpy as np
import pytest
from hard import hard_vectors, slow_neighbours

from spectro.clustering.knn import scan
from spectro.clustering.knn.approximate import NNDescentSettings, approximate_neighbours
from spectro.clustering.knn.complete import complete_lists
from spectro.clustering.knn.lists import empty_lists, in_order
from spectro.clustering.knn.packed import Basis, best_head, pack, plain, principal_axes
from spectro.clustering.knn.scan import RowBlock, all_pairs, tournament


def exact_by(x: np.ndarray, basis: Basis, k: int) -> np.ndarray:
    lists = empty_lists(x.shape[0], k)
    all_pairs(RowBlock(packed=pack(x, basis), lists=lists, rows=np.arange(x.shape[0])))
    return lists.index_Nk


@pytest.mark.parametrize("num_blocks", [1, 2, 4, 10, 64])
def test_everybody_meets_everybody_once_and_nobody_twice_in_a_round(num_blocks: int):
    met: list[tuple[int, int]] = []
    for number, pairs in enumerate(tournament(num_blocks)):
        players = [block for pair in pairs for block in set(pair)]
        assert sorted(players) == list(range(num_blocks)), number
        met.extend(tuple(sorted(pair)) for pair in pairs)
    assert sorted(met) == list(itertools.combinations_with_replacement(range(num_blocks), 2))


@pytest.mark.parametrize("num_head", [1, 32, 100, 127, 128])
def test_no_pair_is_lost_however_little_the_product_knows(num_head: int):
    x = hard_vectors(900, 128)
    basis = Basis(axes_DD=principal_axes(x), num_head=num_head)
    np.testing.assert_array_equal(exact_by(x, basis, 20), slow_neighbours(x, 20)[0])


def test_no_pair_is_lost_far_from_the_origin_and_among_doubles(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scan, "LEAST_ROWS", 64)  # so that there are rounds
    far = (1e4 + hard_vectors(300, 120)).astype(np.float32)
    doubles = np.repeat(hard_vectors(5, 120), 60, axis=0)
    for x in (far, doubles):
        for basis in (plain(120), Basis(axes_DD=principal_axes(x), num_head=32)):
            np.testing.assert_array_equal(exact_by(x, basis, 15), slow_neighbours(x, 15)[0])


@pytest.mark.parametrize("tile", [(7, 13), (64, 32), (512, 2048)])
def test_tiles_do_not_matter(monkeypatch: pytest.MonkeyPatch, tile: tuple[int, int]):
    monkeypatch.setattr(scan, "TILE_ROWS", tile[0])
    monkeypatch.setattr(scan, "TILE_COLUMNS", tile[1])
    monkeypatch.setattr(scan, "LEAST_ROWS", 50)
    x = hard_vectors(333, 9)
    np.testing.assert_array_equal(exact_by(x, plain(9), 11), slow_neighbours(x, 11)[0])


def test_the_bound_is_below_the_distance_and_is_it_where_nothing_is_left():
    x = hard_vectors(200, 40).astype(np.float64)
    squares = ((x[:, None] - x[None]) ** 2).sum(-1)
    axes = principal_axes(x.astype(np.float32))
    for num_head in (1, 8, 40):
        packed = pack(x.astype(np.float32), Basis(axes_DD=axes, num_head=num_head))
        low = packed.left_Nd.astype(np.float64) @ packed.right_Nd.T + packed.square_N[:, None]
        assert (low <= squares + 1e-4).all()
    np.testing.assert_allclose(low, squares, atol=1e-4)


def test_columns_are_chosen_by_what_they_save():
    """All where no direction tells more than another, few where some tell everything."""
    rng = np.random.default_rng(0)
    for deviation, expected in ((np.ones(128), 128), (np.r_[np.ones(20), np.full(108, 1e-3)], 32)):
        x = (rng.normal(size=(2000, 128)) * deviation).astype(np.float32)
        turned = Basis(axes_DD=principal_axes(x), num_head=128)
        far = slow_neighbours(x, 5)[1][:50, -1].astype(np.float32)
        assert best_head(pack(x[:50], turned), pack(x[50:], turned), far, 128) == expected


def test_lists_that_hold_something_are_made_exact():
    x, rows = hard_vectors(700, 12), np.random.default_rng(0).permutation(700)
    lists = empty_lists(700, 10)
    index, distance = slow_neighbours(x, 10)
    lists.index_Nk[:, :4], lists.distance_Nk[:, :4] = index[rows, 3:7], distance[rows, 3:7]
    complete_lists(x[rows], lists, rows)
    np.testing.assert_array_equal(in_order(lists, rows).index_Nk, index)


def test_what_passes_do_not_reach_all_pairs_do():
    x = hard_vectors(3000, 100)
    blind = NNDescentSettings(max_passes=1, num_trees=1, leaf_rows=64, max_rounds=0)
    found = approximate_neighbours(x, 20, settings=blind)
    np.testing.assert_array_equal(found.index_Nk, slow_neighbours(x, 20)[0])
