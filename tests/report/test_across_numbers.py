"""One token across runs: which ids, which clusters, how many, and what is linked."""

from __future__ import annotations

import numpy as np
import pytest

from spectro.analysis.token_clusters import clusters_with, counts_of, ids_of, links
from spectro.clustering.matching import Clustering

PIECES = [b" she", b"she", b"She", b"shed", b"\n", b" ", b"  ", None, b"\xff", b" \n", b"\t"]


@pytest.mark.parametrize(
    ("token", "ids"),
    [
        ("she", [0, 1]),
        (" she ", [0, 1]),
        ("·she", [0]),
        ("␣she", [0]),
        ("She", [2]),
        ("⏎", [4]),
        ("·", [5]),
        (" ", [5]),
        ("\n", [4]),
        ("·⏎", [9]),
        ("⇥", [10]),
        ("he", []),
    ],
)
def test_ids(token: str, ids: list[int]) -> None:
    assert ids_of(token, PIECES).tolist() == ids


def test_clusters_and_counts() -> None:
    assert clusters_with(np.array([3, 5]), [[1, 3], [2], [], [5]]).tolist() == [0, 3]
    assert clusters_with(np.array([], int), [[1]]).tolist() == []
    is_token = np.array([True, False, True, True])
    counts = counts_of(is_token, np.array([0, 1, 2, 3, 3]), np.array([0, 0, 1, 1, 2]), 4)
    assert counts.tolist() == [1, 2, 1, 0]


def test_links() -> None:
    """Sizes and overlaps written out; cluster 2 of `a` is the best for b's 0, and is not shown."""
    a = Clustering.of([np.arange(4), np.arange(4, 8), np.arange(8, 18)], 40)
    b = Clustering.of([np.arange(8, 20), np.arange(3), np.array([7, 30])], 40)
    found = links(a, b, ([0, 1, 2], [0, 1, 2]), (0, 1))
    result = [(link.clusters, round(link.jaccard, 3), link.matched) for link in found]
    assert result == [((2, 0), 0.833, True), ((0, 1), 0.75, True), ((1, 2), 0.2, False)]
    assert {link.runs for link in found} == {(0, 1)}
    assert [link.clusters for link in links(a, b, ([0], [0, 1]), (0, 1))] == [(0, 1)]
    strict = links(a, b, ([0, 2], [0, 1]), (0, 1), threshold=0.8)
    assert [link.matched for link in strict] == [True, False]
    assert links(a, b, ([], []), (0, 1)) == []


def test_the_best_of_all_clusters_not_only_of_those_shown() -> None:
    """b's cluster 0 is more like a's 1, which is not shown: no match."""
    a = Clustering.of([np.arange(6), np.arange(10)], 12)
    b = Clustering.of([np.arange(9)], 12)
    (link,) = links(a, b, ([0], [0]), (0, 1))
    assert link.jaccard == pytest.approx(6 / 9) and not link.matched
