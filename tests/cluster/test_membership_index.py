"""Sets met before, against every set compared with every other."""

import numpy as np
import pytest

from spectro.clustering.local.membership_index import MembershipIndex

RNG = np.random.default_rng(0)


def test_best_jaccard_is_that_of_all_pairs():
    owners, known = MembershipIndex(60), np.zeros((0, 60), bool)
    for _ in range(3000):
        nodes = RNG.choice(60, RNG.integers(1, 30), replace=False).astype(np.int32)
        inside = np.isin(np.arange(60), nodes)
        shared, either = (known & inside).sum(axis=1), (known | inside).sum(axis=1)
        expected = float((shared / either).max(initial=0.0))
        assert owners.best_jaccard(nodes) == pytest.approx(expected)
        if len(known) < 1100 and expected < 0.99:  # beyond the room that it begins with
            owners.add(nodes)
            known = np.concatenate([known, inside[None]])
    assert len(known) == 1100


def test_nothing_is_like_a_set_of_other_nodes():
    owners = MembershipIndex(10)
    assert owners.best_jaccard(np.array([1, 2], np.int32)) == 0.0
    owners.add(np.array([3, 4], np.int32))
    assert owners.best_jaccard(np.array([1, 2], np.int32)) == 0.0
    assert owners.best_jaccard(np.array([4, 3], np.int32)) == 1.0
    assert owners.best_jaccard(np.array([4, 5], np.int32)) == pytest.approx(1 / 3)


def test_only_clusters_of_at_most_the_given_conductance_count():
    owners = MembershipIndex(10)
    owners.add(np.array([1, 2, 3], np.int32), 0.5)
    owners.add(np.array([3, 4], np.int32), 0.2)
    tokens = np.array([1, 2, 3], np.int32)
    assert owners.best_jaccard(tokens) == 1.0
    assert owners.best_jaccard(tokens, 0.5) == 1.0
    assert owners.best_jaccard(tokens, 0.4) == pytest.approx(1 / 4)
    assert owners.best_jaccard(tokens, 0.1) == 0.0
