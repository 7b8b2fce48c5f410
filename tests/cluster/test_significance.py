"""Is a cluster more than its tokens? Planted truth, and noise that must not pass."""

import numpy as np
import pytest

from spectro.clustering.holds import HalvesEvidence, holds
from spectro.clustering.knn.search import nearest_neighbours
from spectro.clustering.matching import Clustering
from spectro.clustering.significance import (
    NUM_SHUFFLES,
    TokenGroups,
    benjamini_hochberg,
    p_values,
    q_of_matches,
)

NUM_TOKENS, NUM_Y, K = 1200, 12, 10
LEAST = 1 / (1 + NUM_SHUFFLES)


def halves(seed: int, planted: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """y [N], label of the planted group [N], and lists of two halves [N, k].

    Tokens are like others of their y in both halves; those of a planted group (tokens of every y)
    beyond that, as far as `planted` says. The rest is noise, drawn anew for either half.
    """
    rng = np.random.default_rng(seed)
    y, label = rng.integers(NUM_Y, size=NUM_TOKENS), rng.integers(-20, 20, size=NUM_TOKENS)
    of_y = rng.normal(size=(NUM_Y, 6))[y]
    of_group = planted * rng.normal(size=(20, 6))[label] * (label >= 0)[:, None]
    both = [
        nearest_neighbours(
            (of_y + of_group + rng.normal(size=of_y.shape)).astype(np.float32), K
        ).index_Nk
        for _ in range(2)
    ]
    return y, label, *both


def neighbourhoods(index_Nk: np.ndarray) -> list[np.ndarray]:
    """As near to each other as sets can be in the half that they are taken from."""
    centres = np.random.default_rng(9).choice(NUM_TOKENS, 150, replace=False)
    return [np.unique(np.concatenate([[c], *index_Nk[index_Nk[c]]])) for c in centres]


@pytest.fixture(scope="module")
def noise() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return halves(0, planted=0.0)


def test_groups_beyond_y_are_significant_and_their_ys_are_not():
    y, label, _, second = halves(1, planted=3.0)
    groups = [np.flatnonzero(label == g) for g in range(20)]
    assert (p_values(groups, second, TokenGroups.of(y)) <= 2 * LEAST).all()
    ys = [np.flatnonzero(y == value) for value in range(NUM_Y)]
    assert (p_values(ys, second, TokenGroups.of(y)) == 1.0).all()  # every shuffle is the set itself


def test_noise_passes_as_often_as_p_says(noise):
    """Sets that are dense in the first half by its noise, tested in the second."""
    y, _, first, second = noise
    p = p_values(neighbourhoods(first), second, TokenGroups.of(y))
    # 150 sets that share tokens, as good as 50 that do not: three standard errors above 0.1.
    assert (p <= 0.1).mean() < 0.1 + 3 * np.sqrt(0.09 / 50)
    assert benjamini_hochberg(p).min() > 0.05
    # In their own half the same sets pass all: why they are not tested there.
    assert (p_values(neighbourhoods(first), first, TokenGroups.of(y)) <= 0.01).mean() > 0.9


def test_without_regard_to_y_the_same_noise_would_pass(noise):
    y, _, first, second = noise
    one_y = TokenGroups.of(np.zeros_like(y))
    assert (p_values(neighbourhoods(first), second, one_y) <= 0.01).mean() > 0.3


def test_p_values_are_those_of_slow_shuffles(noise):
    """Against shuffles of all tokens within equal y, written out."""
    y, _, first, second = noise
    members = neighbourhoods(first)[:6]
    rng = np.random.default_rng(3)
    listed = np.zeros((NUM_TOKENS, NUM_TOKENS), bool)
    listed[np.arange(NUM_TOKENS)[:, None], second] = True
    for rows, found in zip(members, p_values(members, second, TokenGroups.of(y)), strict=True):
        observed, reached = listed[np.ix_(rows, rows)].sum(), 0
        for _ in range(400):
            shuffled = np.arange(NUM_TOKENS)
            for value in range(NUM_Y):
                own = np.flatnonzero(y == value)
                shuffled[own] = rng.permutation(own)
            drawn = shuffled[rows]
            reached += listed[np.ix_(drawn, drawn)].sum() >= observed
        # Stopped at ten hits the estimate has a relative error of a third; four of them.
        assert found == pytest.approx(reached / 400, rel=4 / 3, abs=4 * LEAST)


def test_the_same_key_gives_the_same_numbers(noise):
    y, _, first, second = noise
    members, groups = neighbourhoods(first)[:20], TokenGroups.of(y)
    once = p_values(members, second, groups, seed=4)
    assert (once == p_values(members, second, groups, seed=4)).all()
    assert (once != p_values(members, second, groups, seed=5)).any()


def test_adjusted_is_benjamini_and_hochbergs():
    p = np.array([0.04, 0.001, 0.03, 0.5])
    assert benjamini_hochberg(p) == pytest.approx([0.04 * 4 / 3, 0.004, 0.04 * 4 / 3, 0.5])
    assert benjamini_hochberg(np.array([0.9, 0.8])) == pytest.approx([0.9, 0.9])
    assert benjamini_hochberg(np.empty(0)).size == 0


def test_a_cluster_has_the_larger_q_of_its_matches():
    whole = Clustering.of([np.arange(10), np.arange(10, 20), np.arange(30, 40)], 40)
    first = Clustering.of([np.arange(8), np.arange(12, 20)], 40)
    second = Clustering.of([np.arange(5, 20)], 40)
    q = q_of_matches(whole, [first, second], [np.array([0.01, 0.3]), np.array([0.02])])
    assert q == pytest.approx([0.02, 0.3, 1.0])
    none = q_of_matches(whole, [Clustering.of([], 40), second], [np.empty(0), np.array([0.02])])
    assert none == pytest.approx([1.0, 1.0, 1.0])


def test_a_match_of_few_shared_tokens_says_nothing():
    """Sets of 20 tokens that share 1, 3 and 4: Jaccard indices of 0.03, 0.08 and 0.11."""
    whole = Clustering.of([np.arange(20), np.arange(20, 40), np.arange(40, 60)], 200)
    near = [np.r_[s : s + n, 100 + s : 120 + s - n] for s, n in ((0, 1), (20, 3), (40, 4))]
    half = Clustering.of(near, 200)
    q = np.full(3, 0.002)
    assert q_of_matches(whole, [half, half], [q, q]) == pytest.approx([1.0, 1.0, 0.002])
    # One half that finds it again is not enough: both are asked.
    assert q_of_matches(whole, [whole, half], [q, q]) == pytest.approx([1.0, 1.0, 0.002])


def test_lists_of_other_tokens_are_refused(noise):
    with pytest.raises(ValueError, match="lists of 1200 tokens and y of 3"):
        p_values([], noise[3], TokenGroups.of(np.arange(3)))


def evidence(stability: list[float], q: list[float]) -> HalvesEvidence:
    values = (np.array(v, np.float32) for v in (stability, stability, q))
    names = ("stability_C", "shared_neighbours_C", "q_value_C")
    return HalvesEvidence(
        **dict(zip(names, values, strict=True)), shared_of_all=0.1, shared_by_chance=0.01
    )


def test_what_holds_is_found_by_other_seeds_and_known_to_other_draws():
    by_seeds = np.array([0.5, 0.49, 1.0, 1.0, 1.0], np.float32)
    halves = evidence([0.2, 0.9, 0.2, 0.5, 0.1], [0.05, 0.0, 0.06, 1.0, 0.04])
    assert holds(by_seeds, halves).tolist() == [True, False, False, True, True]
    assert holds(by_seeds, None).tolist() == [True, False, True, True, True]
    unknown = np.full(5, np.nan, np.float32)
    assert holds(unknown, halves).tolist() == [True, True, False, True, True]
    assert holds(unknown, None) is None
