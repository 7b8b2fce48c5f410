"""Neighbours that two sets of lists have in common."""

import numpy as np
import pytest

from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.knn.search import nearest_neighbours
from spectro.clustering.list_agreement import neighbour_agreement

RNG = np.random.default_rng(0)


def lists(index_Nk: np.ndarray) -> Neighbours:
    index_Nk = np.asarray(index_Nk, np.int32)
    return Neighbours(index_Nk=index_Nk, distance_Nk=np.zeros(index_Nk.shape, np.float32))


def test_as_sets_row_by_row():
    a, b = (np.stack([RNG.choice(40, 9, replace=False) for _ in range(40)]) for _ in range(2))
    expected = [len(set(x) & set(y)) / 9 for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    found = neighbour_agreement(lists(a), lists(b))
    assert found.share_N == pytest.approx(expected)
    assert found.mean == pytest.approx(np.mean(expected))
    assert found.chance == pytest.approx(9 / 39)
    members = [np.array([0, 5, 7]), np.array([3])]
    own = [np.mean([expected[r] for r in rows]) for rows in members]
    assert found.of_clusters(members) == pytest.approx(own)


def test_the_same_lists_agree_whatever_their_order():
    a = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
    assert neighbour_agreement(lists(a), lists(a[:, ::-1])).share_N.tolist() == [1.0] * 4


def test_unrelated_vectors_agree_by_chance():
    first, second = (RNG.normal(size=(1500, 4)).astype(np.float32) for _ in range(2))
    found = neighbour_agreement(nearest_neighbours(first, 10), nearest_neighbours(second, 10))
    # 15 000 places, each shared with probability 1/150: five standard errors.
    assert found.mean == pytest.approx(found.chance, abs=5 * np.sqrt(found.chance / 15_000))


def test_a_block_of_rows_counts_chance_over_all():
    block = lists([[5, 6], [7, 8]])
    assert neighbour_agreement(block, block, num_tokens=101).chance == pytest.approx(0.02)


def test_lists_of_other_settings_are_refused():
    with pytest.raises(ValueError, match=r"found \(2, 2\) and \(2, 3\): were they made with other"):
        neighbour_agreement(lists([[1, 1], [0, 0]]), lists([[1, 1, 1], [0, 0, 0]]))


def test_no_rows():
    assert np.isnan(neighbour_agreement(lists(np.empty((0, 3))), lists(np.empty((0, 3)))).mean)
