"""Approximate neighbours: recall on hard data, the same lists however they are found."""

from itertools import pairwise

import numba
import numpy as np
import pytest
import torch
from hard import hard_vectors, num_threads, slow_neighbours

from spectro.clustering.config import NeighbourSearch
from spectro.clustering.knn.approximate import NNDescentSettings, approximate_neighbours
from spectro.clustering.knn.exact import exact_neighbours
from spectro.clustering.knn.lists import merge
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.knn.pairs import pair_neighbours
from spectro.clustering.knn.products import ieee_products
from spectro.clustering.knn.recall import measured_recall, sample_rows
from spectro.clustering.knn.search import nearest_neighbours
from spectro.clustering.knn.trees import tree_leaves

APPROXIMATE = NeighbourSearch.APPROXIMATE


def cut(lists: Neighbours, rows: np.ndarray) -> Neighbours:
    return Neighbours(index_Nk=lists.index_Nk[rows], distance_Nk=lists.distance_Nk[rows])


def same(one: Neighbours, other: Neighbours) -> None:
    np.testing.assert_array_equal(one.index_Nk, other.index_Nk)
    np.testing.assert_array_equal(one.distance_Nk, other.distance_Nk)


def recall_of(x: np.ndarray, found: Neighbours, k: int) -> float:
    rows = sample_rows(x.shape[0], 200)
    truth = exact_neighbours(x[rows], rows, [(0, x)], k)
    return measured_recall(rows, cut(found, rows), truth).mean


SMALL_LEAVES = NNDescentSettings(
    leaf_rows=256, num_trees=4, num_near=15, num_reverse=8, max_passes=8
)
"""So that some thousands of rows are not found by the products alone."""


@pytest.mark.parametrize("num_columns", [32, 100])
def test_recall_on_hard_data(num_columns: int, caplog: pytest.LogCaptureFixture):
    x = hard_vectors(4000, num_columns, decay=0.35)
    caplog.set_level("INFO", logger="spectro")
    found = approximate_neighbours(x, 45, settings=SMALL_LEAVES)
    passes = [record.args for record in caplog.records if record.msg.startswith("pass")]
    assert 1 < len(passes) < SMALL_LEAVES.max_passes  # it went on, and no longer than it had to
    assert all(recall < SMALL_LEAVES.recall for _, recall in passes[:-1])
    assert recall_of(x, found, 45) >= 0.98
    # What was found is in order, without repeats or the token itself, at its true distance.
    true = np.linalg.norm(x[found.index_Nk].astype(np.float64) - x[:, None], axis=2)
    np.testing.assert_allclose(found.distance_Nk, true, rtol=1e-6)
    assert (np.diff(found.distance_Nk, axis=1) >= 0).all()
    assert all(np.unique(row).size == 45 for row in found.index_Nk)
    assert (found.index_Nk != np.arange(4000)[:, None]).all()


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two cores")
def test_one_thread_or_two():
    x, found = hard_vectors(3000, 24), []
    for threads in (1, 2, 2):
        with num_threads(threads):
            found.append(approximate_neighbours(x, 20, settings=SMALL_LEAVES))
    same(found[0], found[1])
    same(found[0], found[2])


def test_a_memory_map_and_another_seed(tmp_path):
    x = hard_vectors(2000, 10)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    plain = nearest_neighbours(x, 10, search=APPROXIMATE, seed=3)
    same(plain, nearest_neighbours(mapped, 10, search=APPROXIMATE, seed=3))
    assert not np.array_equal(tree_leaves(x, 100, (3,))[0], tree_leaves(x, 100, (4,))[0])


def test_leaves_hold_every_row_once_and_are_of_equal_size():
    # Two thirds are one point: by rank they are cut like any others.
    x = np.concatenate([np.zeros((700, 3), np.float32), hard_vectors(300, 3)])
    order, bounds = tree_leaves(x, 60, (0,))
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    sizes = np.diff(bounds)
    assert bounds[0] == 0 and bounds[-1] == 1000
    assert sizes.max() <= 60 and sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("k", [1, 10])
def test_all_equal_and_piles_of_duplicates(k: int):
    equal = nearest_neighbours(np.ones((300, 4), np.float32), k, search=APPROXIMATE)
    assert (equal.distance_Nk == 0).all() and (equal.index_Nk != np.arange(300)[:, None]).all()
    x = np.repeat(hard_vectors(40, 5), 25, axis=0)
    piles = nearest_neighbours(x, k, search=APPROXIMATE)
    assert (piles.distance_Nk == 0).all()
    assert (piles.index_Nk // 25 == np.arange(1000)[:, None] // 25).all()


@pytest.mark.parametrize("num_columns", [1, 5])
def test_one_token_more_than_neighbours(num_columns: int):
    x = hard_vectors(46, num_columns)
    found = nearest_neighbours(x, 45, search=APPROXIMATE)
    np.testing.assert_array_equal(found.index_Nk, slow_neighbours(x, 45)[0])


def test_progress_rises_to_its_end():
    seen: list[tuple[int, int]] = []
    x = hard_vectors(600, 6)
    nearest_neighbours(
        x, 5, search=APPROXIMATE, progress=lambda done, total: seen.append((done, total))
    )
    done = [pair[0] for pair in seen]
    assert done == sorted(done) and seen[-1][0] == seen[-1][1]
    assert len({pair[1] for pair in seen}) == 1 and len(set(done)) > 2


def halves(both: Neighbours, a: tuple[int, np.ndarray]) -> tuple[Neighbours, Neighbours]:
    """Lists of the rows of a, and of the others."""
    first, second = (
        Neighbours(index_Nk=both.index_Nk[part], distance_Nk=both.distance_Nk[part])
        for part in (slice(0, len(a[1])), slice(len(a[1]), None))
    )
    return first, second


def test_pairs_of_blocks_cover_everything():
    x, k = hard_vectors(3000, 16), 20
    # The last block is smaller than k.
    starts = [0, 1000, 2000, 2985, 3000]
    blocks = [(first, x[first:stop]) for first, stop in pairwise(starts)]
    lists: list[list[Neighbours]] = [[] for _ in blocks]
    for i in range(4):
        for j in range(i + 1, 4):
            a, b = halves(pair_neighbours(blocks[i], blocks[j], k, exact=False), blocks[i])
            lists[i].append(a)
            lists[j].append(b)
    parts = [merge(found) for found in lists]
    for part, found in zip(parts, lists, strict=True):
        same(part, merge(found[::-1]))
    whole = Neighbours(
        index_Nk=np.concatenate([part.index_Nk for part in parts]),
        distance_Nk=np.concatenate([part.distance_Nk for part in parts]),
    )
    assert recall_of(x, whole, k) >= 0.99


def test_a_pair_too_small_to_fill_its_lists():
    x = hard_vectors(12, 3)
    a, b = halves(pair_neighbours((100, x[:7]), (500, x[7:]), 20, exact=False), (100, x[:7]))
    assert (a.index_Nk[:, 11:] == -1).all() and np.isinf(b.distance_Nk[:, 11:]).all()
    assert set(a.index_Nk[0, :11]) == {*range(101, 107), *range(500, 505)}
    with pytest.raises(ValueError, match="found fewer for 7 of 7"):
        merge([a, a])


def test_a_pile_beyond_a_leaf_costs_no_further_pass(caplog: pytest.LogCaptureFixture):
    """Of many equal rows any k are nearest: the rest of a pile is not looked for."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(9_000, 8)).astype(np.float32)
    x[rng.choice(9_000, 5_000, replace=False)] = x[0]
    with caplog.at_level("INFO", "spectro.clustering.knn.approximate"):
        approximate_neighbours(x, 15)
    assert sum(record.message.startswith("pass") for record in caplog.records) == 1


def test_a_process_that_rounds_its_products_loses_no_neighbour():
    """Notebooks set it; on processors without such instructions it changes nothing."""
    x = hard_vectors(3_000, 24)
    expected = nearest_neighbours(x, 20, search=NeighbourSearch.EXACT)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with ieee_products("cpu"):
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
        found = nearest_neighbours(x, 20, search=NeighbourSearch.EXACT)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(found.index_Nk, expected.index_Nk)
