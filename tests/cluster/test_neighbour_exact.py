"""Exact neighbours against all pairs, whatever the blocks, the threads and the device."""

import numba
import numpy as np
import pytest
import torch
from hard import hard_vectors, num_threads, slow_neighbours

from spectro.clustering.config import NeighbourSearch
from spectro.clustering.knn import exact, scan
from spectro.clustering.knn.exact import exact_neighbours, row_blocks
from spectro.clustering.knn.lists import empty_lists
from spectro.clustering.knn.search import nearest_neighbours


@pytest.mark.parametrize("num_columns", [1, 2, 7, 64])
def test_exact_is_all_pairs(num_columns: int):
    x = hard_vectors(400, num_columns)
    found = nearest_neighbours(x, 45, search=NeighbourSearch.EXACT)
    index, distance = slow_neighbours(x, 45)
    np.testing.assert_array_equal(found.index_Nk, index)
    # One float32 rounding apart: the sums of both are in float64.
    np.testing.assert_allclose(found.distance_Nk, distance, rtol=2.0**-23)
    assert found.index_Nk.dtype == np.int32 and found.distance_Nk.dtype == np.float32


def test_far_from_the_origin_no_neighbour_is_lost():
    # |x|² of 1e8 in float32 is coarser than every distance here: the product tells nothing.
    x = (1e4 + hard_vectors(300, 4)).astype(np.float32)
    found = nearest_neighbours(x, 5)
    np.testing.assert_array_equal(found.index_Nk, slow_neighbours(x, 5)[0])


def test_many_duplicates_come_first_and_in_order():
    x = np.repeat(hard_vectors(5, 3), 60, axis=0)
    found = nearest_neighbours(x, 45)
    np.testing.assert_array_equal(found.index_Nk, slow_neighbours(x, 45)[0])
    assert (found.distance_Nk == 0).all()


def test_order_and_size_of_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch):
    x = np.concatenate([hard_vectors(300, 8), np.zeros((20, 8), np.float32)])
    rows = np.arange(5, 320, 3)
    plain = exact_neighbours(x[rows], rows, [(0, x)], 10)
    np.testing.assert_array_equal(plain.index_Nk, slow_neighbours(x, 10)[0][rows])
    monkeypatch.setattr(scan, "TILE_ROWS", 13)
    monkeypatch.setattr(scan, "TILE_COLUMNS", 17)
    # A block of 3 rows is smaller than k, one is empty.
    for size in (3, 64):
        blocks = [*row_blocks(x, size), (320, x[:0])][::-1]
        again = exact_neighbours(x[rows], rows, blocks, 10)
        np.testing.assert_array_equal(again.index_Nk, plain.index_Nk)
        np.testing.assert_array_equal(again.distance_Nk, plain.distance_Nk)


def test_the_path_of_a_gpu_gives_the_same_lists():
    """Which only the layout of a map takes; the same code with the tensors on the CPU."""
    x = np.concatenate([hard_vectors(200, 8), np.ones((30, 8), np.float32)])
    lists = empty_lists(230, 12)
    for first, block in row_blocks(x, 40):
        near = torch.from_numpy((block**2).sum(1) - 2 * x @ block.T)
        found = (lists.index_Nk, lists.distance_Nk)
        exact._scan_device(near, x, block, np.arange(230), first, *found)
    np.testing.assert_array_equal(lists.index_Nk, slow_neighbours(x, 12)[0])


@pytest.mark.gpu
def test_a_gpu_gives_the_same_lists():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    x = hard_vectors(5000, 64)
    np.testing.assert_array_equal(
        exact_neighbours(x, np.arange(5000), [(0, x)], 45, device="cuda").index_Nk,
        nearest_neighbours(x, 45, search=NeighbourSearch.EXACT).index_Nk,
    )


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two cores")
def test_one_thread_or_two():
    x, found = hard_vectors(2000, 16), []
    for threads in (1, 2):
        with num_threads(threads):
            found.append(nearest_neighbours(x, 20, search=NeighbourSearch.EXACT))
    np.testing.assert_array_equal(found[0].index_Nk, found[1].index_Nk)
    np.testing.assert_array_equal(found[0].distance_Nk, found[1].distance_Nk)


def test_queries_that_are_no_rows_find_their_duplicates():
    x = hard_vectors(50, 4)
    found = exact_neighbours(x[:3], np.full(3, -1), [(0, x)], 2)
    np.testing.assert_array_equal(found.index_Nk[:, 0], [0, 1, 2])


def test_too_few_rows_in_the_blocks():
    x = hard_vectors(30, 4)
    with pytest.raises(ValueError, match="expected 10 neighbours of every token, found fewer"):
        exact_neighbours(x, np.arange(30), [(0, x[:9])], 10)
    with pytest.raises(ValueError, match="expected 30 row numbers"):
        exact_neighbours(x, np.arange(9), [(0, x)], 10)


@pytest.mark.parametrize("search", list(NeighbourSearch))
@pytest.mark.parametrize("num_tokens", [1, 45])
def test_too_few_tokens(num_tokens: int, search: NeighbourSearch):
    with pytest.raises(ValueError, match=f"needs more than 45 tokens, found {num_tokens}"):
        nearest_neighbours(np.eye(num_tokens, 4, dtype=np.float32), 45, search=search)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(value: float):
    x = hard_vectors(50, 3)
    x[17, 1] = value
    with pytest.raises(ValueError, match=r"not finite \(first row 17\)"):
        nearest_neighbours(x, 5)
