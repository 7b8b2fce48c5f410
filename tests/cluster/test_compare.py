"""Comparison against sets, pair by pair, and against what must hold."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from spectro.clustering import matching
from spectro.clustering.compare import _histogram, compare
from spectro.clustering.matching import Clustering, best_jaccard, best_matches, stability

NUM_TOKENS = 40


def random_sets(seed: int, num: int, *, num_tokens: int = NUM_TOKENS) -> list[np.ndarray]:
    """Overlapping clusters of 1 to 12 tokens."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(num_tokens)[: rng.integers(1, 13)] for _ in range(num)]


def partition(label: np.ndarray) -> Clustering:
    members = [np.flatnonzero(label == c) for c in range(label.max(initial=-1) + 1)]
    return Clustering.of(members, label.size)


def by_sets(a: list[np.ndarray], b: list[np.ndarray]) -> tuple[list[int], list[float]]:
    """Best match and Jaccard of each of `a`, over all pairs."""
    matches, indices = [], []
    for own in a:
        scores = [len({*own} & {*x}) / len({*own} | {*x}) for x in b]
        best = max(scores, default=0.0)
        matches.append(scores.index(best) if best > 0 else -1)
        indices.append(best)
    return matches, indices


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 9), st.integers(0, 9))
def test_best_matches_are_those_of_all_pairs(seed: int, num_a: int, num_b: int):
    a, b = random_sets(seed, num_a), random_sets(seed + 1, num_b)
    found = best_matches(Clustering.of(a, NUM_TOKENS), Clustering.of(b, NUM_TOKENS))
    match, index = by_sets(a, b)
    assert found.match_C.tolist() == match
    np.testing.assert_array_equal(found.jaccard_C, np.array(index, np.float32))
    np.testing.assert_array_equal(best_jaccard(a, b, NUM_TOKENS), found.jaccard_C)


def test_blocks_of_clusters_change_nothing(monkeypatch: pytest.MonkeyPatch):
    a, b = (Clustering.of(random_sets(s, 30), NUM_TOKENS) for s in (1, 2))
    whole = best_matches(a, b)
    for size in (1, 7, 25):
        monkeypatch.setattr(matching, "BLOCK_MEMBERS", size)
        blocks = best_matches(a, b)
        np.testing.assert_array_equal(blocks.match_C, whole.match_C)
        np.testing.assert_array_equal(blocks.jaccard_C, whole.jaccard_C)


def test_pair_scores_count_pairs():
    """ARI over all common tokens from its definition, unclustered tokens together with nobody."""
    rng = np.random.default_rng(3)
    label_a, label_b = rng.integers(-1, 3, 30), rng.integers(-1, 3, 30)
    found = compare(partition(label_a), partition(label_b))
    pairs = list(itertools.combinations(range(30), 2))
    together_a = [label_a[i] == label_a[j] >= 0 for i, j in pairs]
    together_b = [label_b[i] == label_b[j] >= 0 for i, j in pairs]
    both, sum_a, sum_b = (
        sum(x and y for x, y in zip(together_a, together_b, strict=True)),
        sum(together_a),
        sum(together_b),
    )
    expected = sum_a * sum_b / len(pairs)
    by_pairs = (both - expected) / ((sum_a + sum_b) / 2 - expected)
    assert found.ari_all == pytest.approx(by_pairs, rel=1e-12)
    clustered = (label_a >= 0) & (label_b >= 0)
    assert found.num_both == clustered.sum()
    assert found.ari_both == adjusted_rand_score(label_a[clustered], label_b[clustered])


def test_equal_clusterings_agree_in_everything():
    label = np.random.default_rng(0).integers(-1, 6, 400)
    found = compare(partition(label), partition(label))
    scores = (found.ari_both, found.nmi_both, found.ari_all, found.nmi_all)
    np.testing.assert_allclose(scores, 1.0, rtol=1e-12)
    assert found.a.share_matched == found.b.share_matched == 1.0
    assert found.pairs_P2.tolist() == [[c, c] for c in range(6)]
    assert found.a.histogram_B.tolist() == [0] * 9 + [6]


def test_clusters_of_nothing_in_common_look_like_their_null():
    """Independent labels: pair scores at 0 and best indices as when shuffled.

    ARI of independent labels has mean 0 and here a deviation of about 1 / (clusters · √pairs),
    far below 0.01. The mean best index over 40 clusters is held to 5 of its standard errors.
    """
    rng = np.random.default_rng(5)
    num_tokens = 20_000
    a, b = (partition(rng.integers(-1, 40, num_tokens)) for _ in range(2))
    found = compare(a, b)
    assert abs(found.ari_all) < 0.01 and abs(found.ari_both) < 0.01
    spread = found.a.best.jaccard_C.std() / math.sqrt(len(a))
    difference = found.a.best.jaccard_C.mean() - found.a.null_C.mean()
    assert abs(float(difference)) < 5 * float(spread)
    assert len(found.pairs_P2) == 0 and found.a.null_share_matched == 0.0
    assert found.a.null_histogram_B.sum() == pytest.approx(40)


def test_chance_within_classes_sees_what_the_classes_explain():
    """Clusters that are half of a class each agree by no more than the class."""
    rng = np.random.default_rng(7)
    kind = rng.integers(0, 20, 4000)
    a, b = (partition(2 * kind + rng.integers(0, 2, kind.size)) for _ in range(2))
    free, within = compare(a, b), compare(a, b, within_N=kind)
    observed = free.a.best.jaccard_C.mean()
    assert observed > 4 * free.a.null_C.mean()
    assert within.a.null_C.mean() == pytest.approx(float(observed), rel=0.1)


def test_matches_are_mutual():
    """Both halves of a split cluster have it as their best; it is matched with the larger one."""
    whole = [np.arange(10)]
    parts = [np.arange(7), np.arange(7, 10)]
    found = compare(Clustering.of(whole, 12), Clustering.of(parts, 12))
    assert found.b.best.match_C.tolist() == [0, 0]
    assert found.pairs_P2.tolist() == [[0, 0]]
    assert found.b.matched_C.tolist() == [True, False]
    strict = compare(Clustering.of(whole, 12), Clustering.of(parts, 12), threshold=0.8)
    assert strict.pairs_P2.shape == (0, 2) and strict.a.share_matched == 0.0


def test_overlapping_clusters_are_labelled_by_the_smallest():
    clustering = Clustering.of([np.arange(6), np.arange(4, 7), np.array([5, 6, 8])], 10)
    assert clustering.label_N.tolist() == [0, 0, 0, 0, 1, 2, 2, -1, 2, -1]


@pytest.mark.parametrize("num_a", [0, 2])
def test_no_clusters(num_a: int):
    a = Clustering.of([np.array([i]) for i in range(num_a)], 5)
    found = compare(a, Clustering.of([], 5))
    assert math.isnan(found.ari_both) and found.num_both == 0
    assert found.a.best.match_C.tolist() == [-1] * num_a
    assert found.b.num_clusters == 0 and math.isnan(found.b.share_matched)
    nobody = compare(Clustering.of([], 0), Clustering.of([], 0))
    assert nobody.num_common == 0 and math.isnan(nobody.ari_all)


def test_the_same_seed_gives_the_same_null():
    a, b = (Clustering.of(random_sets(s, 8), NUM_TOKENS) for s in (1, 2))
    first, again, other = (compare(a, b, seed=seed).a.null_C for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_stability_is_the_lesser_half():
    members = [np.arange(10), np.arange(10, 20)]
    halves = [[np.arange(10), np.arange(10, 15)], [np.arange(8)]]
    np.testing.assert_allclose(stability(members, halves, 20), [0.8, 0.0])
    with pytest.raises(ValueError, match="found none"):
        stability(members, [], 20)


def test_what_is_no_clustering_is_refused():
    with pytest.raises(ValueError, match="other tokens"):
        Clustering.of([np.array([3])], 3)
    with pytest.raises(ValueError, match="found one twice"):
        Clustering.of([np.array([1, 1])], 3)
    with pytest.raises(ValueError, match="same tokens, found 3 and 4"):
        best_matches(Clustering.of([], 3), Clustering.of([], 4))
    with pytest.raises(ValueError, match="threshold"):
        compare(Clustering.of([], 3), Clustering.of([], 3), threshold=0.0)


def test_tenths_fall_into_the_bin_that_they_begin():
    tenths = np.arange(11, dtype=np.float32) / 10
    assert _histogram(tenths).tolist() == [1] * 9 + [2]
