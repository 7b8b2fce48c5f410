"""Merged lists and measured recall against their definitions."""

import numpy as np
import pytest

from spectro.clustering.knn.lists import merge
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.knn.recall import measured_recall, sample_rows


def lists(index: list[list[int]], distance: list[list[float]]) -> Neighbours:
    return Neighbours(
        index_Nk=np.array(index, np.int32), distance_Nk=np.array(distance, np.float32)
    )


def test_merge_by_distance_then_row_without_repeats():
    one = lists([[7, 3, 9]], [[0, 1, 2]])
    other = lists([[5, 3, 2]], [[1, 1, 2]])
    for merged in (merge([one, other]), merge([other, one]), merge([one, other, one])):
        np.testing.assert_array_equal(merged.index_Nk, [[7, 3, 5]])
        np.testing.assert_array_equal(merged.distance_Nk, [[0, 1, 1]])


@pytest.mark.parametrize("seed", range(3))
def test_merge_is_a_sort_of_the_union(seed: int):
    rng = np.random.default_rng(seed)
    far = rng.integers(0, 4, 40).astype(np.float32)
    drawn = [rng.choice(40, 6, replace=False) for _ in range(4)]
    ordered = [rows[np.lexsort((rows, far[rows]))] for rows in drawn]
    merged = merge([lists([list(rows)], [list(far[rows])]) for rows in ordered])
    union = np.unique(np.concatenate(drawn))
    expected = union[np.lexsort((union, far[union]))][:6]
    np.testing.assert_array_equal(merged.index_Nk[0], expected)


def test_merge_needs_lists_of_one_shape():
    with pytest.raises(ValueError, match="found none"):
        merge([])
    with pytest.raises(ValueError, match="other blocks"):
        merge([lists([[1, 2]], [[0, 1]]), lists([[1]], [[0]])])


def test_recall_by_hand():
    exact = lists([[1, 2], [0, 2], [1, 0]], [[1, 2], [1, 3], [2, 2]])
    # Row 0 has both, row 1 one of two; row 2 another at the same distance, which is as good.
    found = lists([[1, 2], [0, 5], [7, 0]], [[1, 2], [1, 4], [2, 2]])
    recall = measured_recall(np.array([0, 1, 2]), found, exact)
    assert recall.mean == pytest.approx(5 / 6)
    assert recall.standard_error == pytest.approx(np.std([1, 0.5, 1], ddof=1) / np.sqrt(3))
    assert recall.worst_tenth == 0.5 and recall.num_sampled == 3
    with pytest.raises(ValueError, match="cut to the sample"):
        measured_recall(np.array([0, 1]), found, exact)


def test_sample_is_keyed():
    rows = sample_rows(1000, 50, seed=1)
    assert rows.size == np.unique(rows).size == 50 and (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, sample_rows(1000, 50, seed=1))
    assert not np.array_equal(rows, sample_rows(1000, 50, seed=2))
    np.testing.assert_array_equal(sample_rows(7, 50), np.arange(7))
