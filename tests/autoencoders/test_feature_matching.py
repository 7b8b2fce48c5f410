"""Sets of tokens against features: slow references, planted features, null rates (ADR 102)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from spectro.autoencoders.config import EncodeConfig, MatchConfig, ReadingModelConfig, TopKConfig
from spectro.autoencoders.feature_rows import FeatureRows
from spectro.autoencoders.matching import (
    SetMatches,
    area_under_curve,
    match_sets,
    share_at,
)
from spectro.clustering.significance import TokenGroups

Bools = NDArray[np.bool_]


def rows_of(active_NF: Bools) -> FeatureRows:
    """Sparse rows of a dense matrix."""
    row, index = np.nonzero(active_NF)
    start = np.searchsorted(row, np.arange(len(active_NF) + 1))
    return FeatureRows(
        start_N1=start.astype(np.int64), index=index.astype(np.uint16),
        num_features=active_NF.shape[1],
    )  # fmt: skip


def random_sets(rng: np.random.Generator, num: int, num_tokens: int) -> list[NDArray[np.int64]]:
    return [np.sort(rng.choice(num_tokens, size, replace=False)) for size in range(5, 5 + num)]


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    active_NF = rng.random((200, 30)) < rng.random(30) * 0.3
    active_NF[:, 7] = False  # a dead feature
    sets = random_sets(rng, 8, 200)
    config = MatchConfig(num_features=4)
    found = match_sets(sets, rows_of(active_NF), config)
    f1_CF = np.zeros((8, 30))
    for number, own in enumerate(sets):
        truth = np.isin(np.arange(200), own)
        f1_CF[number] = [f1_score(truth, active_NF[:, f], zero_division=0) for f in range(30)]
        order = np.argsort(-f1_CF[number], kind="stable")[:4]
        np.testing.assert_allclose(found.f1_CK[number], f1_CF[number][order])
        np.testing.assert_array_equal(found.feature_CK[number], order)
        for slot, feature in enumerate(order):
            args = truth, active_NF[:, feature]
            assert found.precision_CK[number, slot] == pytest.approx(precision_score(*args))
            assert found.recall_CK[number, slot] == pytest.approx(recall_score(*args))
    np.testing.assert_allclose(found.f1_F, f1_CF.max(axis=0))
    reached = f1_CF.max(axis=0) > 0
    np.testing.assert_array_equal(found.set_F[reached], f1_CF.argmax(axis=0)[reached])
    assert found.set_F[7] == -1
    assert found.active_FL[7, 0] == 0


def test_a_set_without_active_features_has_none() -> None:
    active_NF = np.zeros((20, 3), np.bool_)
    active_NF[10:, 1] = True
    found = match_sets([np.arange(5), np.array([], np.int64)], rows_of(active_NF), MatchConfig())
    assert (found.feature_CK == -1).all()
    assert found.best_C.tolist() == [0.0, 0.0]
    assert (found.num_active_CK == 0).all()


def test_levels_are_the_strongest_tokens_of_each_feature() -> None:
    """Against a slow reference: the best F1 over levels, of every pair; one row per feature."""
    rng = np.random.default_rng(8)
    value_NF = np.where(rng.random((300, 12)) < 0.3, rng.random((300, 12)), 0.0)
    levels = (1.0, 0.5, 0.2)
    row, index = np.nonzero(value_NF)
    plain = rows_of(value_NF > 0)
    rows = plain.at_levels(value_NF[row, index], levels)
    sets = [*random_sets(rng, 3, 300), np.sort(np.argsort(-value_NF[:, 5])[:18])]
    found = match_sets(sets, rows, MatchConfig(num_features=3, levels=levels))
    for number, own in enumerate(sets):
        truth, best = np.isin(np.arange(300), own), np.zeros((12, 3))
        for feature in range(12):
            ordered = np.sort(value_NF[:, feature][value_NF[:, feature] > 0])[::-1]
            for place, level in enumerate(levels):
                least = ordered[int(level * len(ordered) + 1e-9) - 1]
                best[feature, place] = f1_score(truth, value_NF[:, feature] >= least)
        order = np.argsort(-best.max(axis=1), kind="stable")[:3]
        np.testing.assert_allclose(found.f1_CK[number], best.max(axis=1)[order])
        np.testing.assert_array_equal(found.feature_CK[number], order)
        np.testing.assert_array_equal(found.level_CK[number], best.argmax(axis=1)[order])
    assert (found.feature_CK[3, 0], found.level_CK[3, 0]) == (5, 2)
    np.testing.assert_array_equal(found.active_FL[:, 0], (value_NF > 0).sum(axis=0))


@pytest.mark.parametrize("ties", [False, True])
def test_auc_is_that_of_scikit_learn(ties: bool) -> None:
    rng = np.random.default_rng(1)
    value_N = np.where(rng.random(300) < 0.3, rng.random(300) + 0.1, 0.0)
    value_N = np.ceil(value_N * 4) if ties else value_N
    own = np.sort(rng.choice(300, 40, replace=False))
    row = np.flatnonzero(value_N)
    found = area_under_curve(own, row, value_N[row], 300)
    assert found == pytest.approx(roc_auc_score(np.isin(np.arange(300), own), value_N))
    assert area_under_curve(own, row[:0], value_N[:0], 300) == pytest.approx(0.5)
    assert np.isnan(area_under_curve(np.arange(0), row, value_N[row], 300))


def test_the_null_has_the_size_and_the_y_of_its_set() -> None:
    """A feature that is y itself: every random set of the same y has the same F1."""
    rng = np.random.default_rng(2)
    y_N = rng.integers(0, 6, 600)
    rows = FeatureRows.one_each(y_N)
    sets = [np.flatnonzero(y_N == 2)[:30], np.sort(rng.choice(600, 50, replace=False))]
    found = match_sets(sets, rows, MatchConfig(num_null=20), TokenGroups.of(y_N))
    np.testing.assert_array_equal(found.null_CR, np.repeat(found.best_C[:, None], 20, axis=1))
    assert (found.q_C == 1).all()


def planted(rng: np.random.Generator, rate: float) -> tuple[SetMatches, Bools]:
    """40 disjoint sets of 50 tokens among 8000; a share of them has a feature, off by a tenth.

    y is drawn independently of the sets, features beside the planted ones are random.
    """
    num_tokens, num_sets, size = 8000, 40, 50
    order = rng.permutation(num_tokens)
    sets = [np.sort(order[c * size : (c + 1) * size]) for c in range(num_sets)]
    is_planted = np.arange(num_sets) < rate * num_sets
    active_NF = rng.random((num_tokens, 300)) < 0.01
    for number in np.flatnonzero(is_planted):
        active_NF[:, number] = False
        active_NF[rng.choice(sets[number], size * 9 // 10, replace=False), number] = True
        active_NF[rng.choice(num_tokens, size // 10), number] = True
    groups = TokenGroups.of(rng.integers(0, 50, num_tokens))
    return match_sets(sets, rows_of(active_NF), MatchConfig(), groups), is_planted


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.75])
def test_planted_features_are_matched_at_their_rate(rate: float) -> None:
    found, is_planted = planted(np.random.default_rng(3), rate)
    np.testing.assert_array_equal(found.best_C >= 0.5, is_planted)
    np.testing.assert_array_equal((found.q_C <= 0.05) & (found.best_C >= 0.5), is_planted)
    np.testing.assert_array_equal(found.feature_CK[is_planted, 0], np.flatnonzero(is_planted))
    assert found.null_CR.max() < 0.5
    assert share_at(found.null_CR, [0.5]) == [0.0]
    assert int((found.f1_F >= 0.5).sum()) == int(is_planted.sum())


def test_p_values_of_sets_that_are_random_given_y_are_uniform() -> None:
    """The null holds: sets drawn as the null is reach no small q, and p averages one half."""
    rng = np.random.default_rng(4)
    y_N = rng.integers(0, 10, 3000)
    active_NF = rng.random((3000, 40)) < 0.02 * (1 + (y_N[:, None] % 4))
    sets = [np.sort(rng.choice(3000, 60, replace=False)) for _ in range(120)]
    config = MatchConfig(num_null=99)
    found = match_sets(sets, rows_of(active_NF), config, TokenGroups.of(y_N))
    reached_C = (found.null_CR >= found.best_C[:, None]).sum(axis=1)
    p_C = (1 + reached_C) / 100
    assert abs(p_C.mean() - 0.505) < 4 * np.sqrt(1 / 12 / 120)
    assert (p_C <= 0.1).mean() < 0.1 + 4 * np.sqrt(0.1 * 0.9 / 120)
    assert (found.q_C > 0.05).all()


def test_matches_depend_on_the_seed_alone() -> None:
    first, _ = planted(np.random.default_rng(5), 0.5)
    again, _ = planted(np.random.default_rng(5), 0.5)
    np.testing.assert_array_equal(first.null_CR, again.null_CR)


def test_another_seed_draws_other_sets() -> None:
    rng = np.random.default_rng(6)
    y_N = rng.integers(0, 4, 500)
    rows = rows_of(rng.random((500, 20)) < 0.1)
    sets = random_sets(rng, 3, 500)
    config = MatchConfig(num_null=30)
    one = match_sets(sets, rows, config, TokenGroups.of(y_N)).null_CR
    other = match_sets(sets, rows, replace(config, seed=1), TokenGroups.of(y_N)).null_CR
    assert (one != other).any()


def test_groups_of_other_tokens_are_refused() -> None:
    rows = FeatureRows.one_each(np.arange(10))
    with pytest.raises(ValueError, match="y of 9 tokens and features of 10"):
        match_sets([np.arange(3)], rows, MatchConfig(), TokenGroups.of(np.arange(9)))


def test_shares_at_thresholds() -> None:
    assert share_at(np.array([0.2, 0.5, 0.9, 1.0]), [0.0, 0.5, 0.95, 1.0]) == [1, 0.75, 0.25, 0.25]
    assert np.isnan(share_at(np.array([]), [0.5])).all()


def test_an_f1_at_a_threshold_reaches_it() -> None:
    """F1 = 2 · percent / (100 + 100) at the thresholds of the curves, of random sets too."""
    active_NF = np.zeros((400, 2), np.bool_)
    active_NF[:100, 0] = True
    rows, groups = rows_of(active_NF), TokenGroups.of(np.repeat(np.arange(4), 100))
    percents = np.arange(1, 101)
    sets = [np.arange(100 - own, 200 - own) for own in percents.tolist()]
    found = match_sets(sets, rows, MatchConfig(num_null=3), groups)
    thresholds = [round(0.01 * percent, 2) for percent in percents.tolist()]
    np.testing.assert_array_equal(found.best_C >= thresholds, True)
    np.testing.assert_array_equal(found.best_C[:-1] >= thresholds[1:], False)
    assert share_at(found.best_C, thresholds) == pytest.approx(1.01 - percents / 100)
    assert share_at(found.null_CR, thresholds) == share_at(found.best_C, thresholds)
    assert (found.q_C == 1).all()


def test_without_features_there_is_nothing_to_match() -> None:
    rows = FeatureRows.one_each(np.arange(0))
    with pytest.raises(ValueError, match="found no features of 0 tokens to match 1 sets to"):
        match_sets([np.arange(0)], rows, MatchConfig())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MatchConfig(threshold=0), "match.threshold must be above 0"),
        (lambda: MatchConfig(max_q=1.5), "match.max_q"),
        (lambda: MatchConfig(num_null=0), "match.num_null must be at least 1"),
        (lambda: MatchConfig(num_features=0), "match.num_features must be at least 1, found 0"),
        (lambda: MatchConfig(levels=(0.5, 0.1)), "match.levels must fall from 1"),
        (lambda: MatchConfig(levels=()), "match.levels must fall from 1"),
        (lambda: EncodeConfig(num_cells=0), "encode.num_cells"),
        (lambda: EncodeConfig(num_cells=999, num_fitted=256), "more than the 256"),
        (lambda: ReadingModelConfig(revision="main"), "without model.name_or_path"),
        (lambda: TopKConfig(k=0), "top_k.k must be from 1"),
        (lambda: TopKConfig(learning_rate=0), "top_k.learning_rate must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
