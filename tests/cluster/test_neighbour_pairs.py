"""Exact neighbours by pairs of blocks: those of one search, each pair of rows looked at once."""

from itertools import pairwise

import numpy as np
import pytest
from hard import hard_vectors, slow_neighbours

from spectro.clustering.knn import scan
from spectro.clustering.knn.lists import NONE, empty_lists, merge
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.knn.packed import Basis, pack, plain, principal_axes
from spectro.clustering.knn.pairs import Block, pair_neighbours
from spectro.clustering.knn.scan import RowBlock, cross_pairs
from spectro.clustering.knn.search_plan import block_pairs


def by_pairs(x: np.ndarray, starts: list[int], k: int) -> Neighbours:
    blocks: list[Block] = [(first, x[first:stop]) for first, stop in pairwise(starts)]
    parts: list[list[Neighbours]] = [[] for _ in blocks]
    for i, j in block_pairs(len(blocks), exact=True):
        found = pair_neighbours(blocks[i], blocks[j], k, exact=True)
        cut = len(blocks[i][1])
        for block, rows in {j: slice(cut, None), i: slice(0, cut)}.items():
            own = Neighbours(index_Nk=found.index_Nk[rows], distance_Nk=found.distance_Nk[rows])
            parts[block].append(own)
    merged = [merge(found) for found in parts]
    return Neighbours(
        index_Nk=np.concatenate([part.index_Nk for part in merged]),
        distance_Nk=np.concatenate([part.distance_Nk for part in merged]),
    )


@pytest.mark.parametrize("num_columns", [3, 120])
@pytest.mark.parametrize("starts", [[0, 300, 600], [0, 250, 500, 599, 600], [0, 5, 9, 600]])
def test_pairs_give_the_lists_of_one_search(num_columns: int, starts: list[int]) -> None:
    """Also with blocks of fewer rows than neighbours, and of one row."""
    x = np.concatenate([hard_vectors(560, num_columns), np.ones((40, num_columns), np.float32)])
    index, distance = slow_neighbours(x, 12)
    found = by_pairs(x, starts, 12)
    np.testing.assert_array_equal(found.index_Nk, index)
    np.testing.assert_allclose(found.distance_Nk, distance, rtol=2.0**-23)


def test_blocks_are_paired_once() -> None:
    assert block_pairs(1, exact=True) == block_pairs(1, exact=False) == []
    assert block_pairs(3, exact=False) == [(0, 1), (0, 2), (1, 2)]
    assert block_pairs(3, exact=True) == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]


@pytest.mark.parametrize("sizes", [(400, 400), (700, 90), (30, 800)])
@pytest.mark.parametrize("num_head", [1, 40])
def test_two_sides_meet_whole(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int], num_head: int
) -> None:
    monkeypatch.setattr(scan, "LEAST_ROWS", 64)  # so that there are rounds
    x, k = hard_vectors(sum(sizes), 40), 20
    axes = Basis(axes_DD=principal_axes(x), num_head=num_head)
    for basis in (plain(40), axes):
        sides = []
        for first, size in ((0, sizes[0]), (sizes[0], sizes[1])):
            rows = np.arange(first, first + size)
            sides.append(
                RowBlock(packed=pack(x[rows], basis), lists=empty_lists(size, k), rows=rows)
            )
        cross_pairs(*sides)
        for one, other in (sides, sides[::-1]):
            far = ((x[one.rows, None].astype(float) - x[other.rows][None]) ** 2).sum(-1)
            nearest = other.rows[np.lexsort((np.broadcast_to(other.rows, far.shape), far))[:, :k]]
            np.testing.assert_array_equal(one.lists.index_Nk, nearest)


def test_every_pair_is_measured_once_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Meetings of parts: all of one side's with all of the other's, none twice in a round."""
    monkeypatch.setattr(scan, "LEAST_ROWS", 64)
    met: list[tuple[int, int]] = []
    monkeypatch.setattr(
        scan,
        "compare_blocks",
        lambda one, other, **_: met.append((int(one.rows[0]), int(other.rows[0]))),
    )
    x = hard_vectors(640, 4)
    sides = [
        RowBlock(packed=pack(x[rows], plain(4)), lists=empty_lists(320, 5), rows=rows)
        for rows in (np.arange(320), np.arange(320, 640))
    ]
    cross_pairs(*sides)
    assert len(met) == len(set(met)) == 25
    for number in range(0, 25, 5):
        ones, others = zip(*met[number : number + 5], strict=True)
        assert len(set(ones)) == len(set(others)) == 5


def test_a_lone_row_has_no_neighbour_of_its_own() -> None:
    x = hard_vectors(1, 4)
    found = pair_neighbours((7, x), (7, x), 3, exact=True)
    assert (found.index_Nk == NONE).all() and np.isinf(found.distance_Nk).all()
    assert found.index_Nk.shape == (1, 3)


def test_a_value_that_is_not_finite_is_named() -> None:
    x = hard_vectors(20, 4)
    bad = x.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="first row 3"):
        pair_neighbours((0, x), (20, bad), 3, exact=True)
