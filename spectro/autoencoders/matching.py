"""Sets of tokens against the features of an autoencoder.

Of a set S and the tokens A on which a feature is active,

    precision = |S ∩ A| / |A|,   recall = |S ∩ A| / |S|,   F1 = 2 |S ∩ A| / (|S| + |A|)

A feature has levels: active where its activation is above zero, or among the strongest half, … of
those (MatchConfig.levels). The best feature of a set is that of largest F1 at any of its levels, of
equal ones the first. The null of a set is the best F1 of random sets of the same size with as many
tokens of every y, found in the same way: how well features find any set of this y. Only active
features are stored and counted; nothing of N × F.

F1 here is the float64 nearest to a ratio of whole numbers, as a threshold is the one nearest to its
decimals, so that `>=` is exact. What is stored as float32 is compared with thresholds rounded so.

Shapes: N tokens, F features, L levels, G = F · L columns (feature · L + level), C sets, m tokens of
a set, K features that are kept, R random sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectro.autoencoders.config import MatchConfig
from spectro.autoencoders.count_features import best_features, null_of_set
from spectro.autoencoders.feature_rows import FeatureRows
from spectro.clustering.significance import TokenGroups, benjamini_hochberg

NULL_KEY = 0x5AE
"""Stream of random numbers, next to the seed."""


@dataclass(frozen=True, kw_only=True)
class SetMatches:
    """Best features of every set, and the best set of every feature."""

    size_C: NDArray[np.int64]
    """Tokens of each set."""
    feature_CK: NDArray[np.int64]
    """Best first; −1 where fewer features share a token with the set."""
    level_CK: NDArray[np.int64]
    """The level at which each is best."""
    shared_CK: NDArray[np.int64]
    """Tokens of the set on which it is active."""
    active_FL: NDArray[np.int64]
    """Tokens on which each feature is active, by level."""
    set_F: NDArray[np.int64]
    """The set of largest F1 of each feature at any level, −1 where none shares a token with it."""
    f1_F: NDArray[np.float64]
    """That F1."""
    null_CR: NDArray[np.float64]
    """Best F1 of random sets of the same size and the same y; R = 0 without a null."""

    @property
    def num_active_CK(self) -> NDArray[np.int64]:
        """Tokens on which the best features are active, at their levels."""
        found = self.active_FL[self.feature_CK, self.level_CK]
        return np.where(self.feature_CK >= 0, found, 0)

    @property
    def f1_CK(self) -> NDArray[np.float64]:
        """F1 of the best features, 0 where there is none."""
        return _ratio(2.0 * self.shared_CK, self.size_C[:, None] + self.num_active_CK)

    @property
    def precision_CK(self) -> NDArray[np.float64]:
        """Precision of the best features."""
        return _ratio(self.shared_CK, self.num_active_CK)

    @property
    def recall_CK(self) -> NDArray[np.float64]:
        """Recall of the best features."""
        return _ratio(self.shared_CK, self.size_C[:, None])

    @property
    def best_C(self) -> NDArray[np.float64]:
        """F1 of the best feature of each set."""
        found: NDArray[np.float64] = self.f1_CK[:, 0]
        return found

    @property
    def q_C(self) -> NDArray[np.float64]:
        """q-values that a set is matched no better than others of its y; 1 without a null."""
        num_sets, num_null = self.null_CR.shape
        if not num_null or not num_sets:
            return np.ones(num_sets)
        reached_C = (self.null_CR >= self.best_C[:, None]).sum(axis=1)
        return benjamini_hochberg((1.0 + reached_C) / (1.0 + num_null))


def match_sets(
    members: Sequence[NDArray[np.integer]],
    rows: FeatureRows,
    config: MatchConfig,
    groups: TokenGroups | None = None,
) -> SetMatches:
    """The best features of sets of tokens.

    Args:
        members: tokens of each set, as rows.
        rows: active features of all tokens.
        config: how many are kept, and the null.
        groups: tokens by y; None: without a null.

    Raises ValueError if groups and rows are of different tokens, or there are no features.
    """
    if not rows.num_features:
        raise ValueError(
            f"found no features of {rows.num_tokens} tokens to match {len(members)} sets to: could "
            "none of these tokens be read?"
        )
    if groups is not None and groups.y_N.size != rows.num_tokens:
        raise ValueError(
            f"found y of {groups.y_N.size} tokens and features of {rows.num_tokens}: are they of "
            "the same run?"
        )
    num_sets, num_kept = len(members), min(config.num_features, rows.num_features)
    column_CK = np.full((num_sets, num_kept), -1, np.int64)
    shared_CK = np.zeros((num_sets, num_kept), np.int64)
    active_G, scratch = rows.num_active(), _Scratch.of(rows)
    f1_F, set_F = np.zeros(rows.num_features), np.full(rows.num_features, -1, np.int64)
    null_CR = np.zeros((num_sets, config.num_null if groups is not None else 0))
    csr = rows.start_N1, rows.index, active_G
    counted, num_levels = (scratch.count_G, scratch.touched_G), rows.num_levels
    for number, own in enumerate(members):
        rows_m = np.asarray(own, np.int64)
        kept = column_CK[number], shared_CK[number]
        best_features(rows_m, *csr, *counted, *kept, f1_F, set_F, number, num_levels)
        if groups is not None:
            rng = np.random.default_rng((config.seed, NULL_KEY, number))
            by_y = groups.y_N, groups.token_N, groups.start_V, scratch.stamp_N
            null_of_set(rows_m.astype(np.int32), *csr, *counted, *by_y, rng, null_CR[number])
    return SetMatches(
        size_C=np.array([len(own) for own in members], np.int64),
        feature_CK=np.where(column_CK >= 0, column_CK // num_levels, -1),
        level_CK=np.where(column_CK >= 0, column_CK % num_levels, 0),
        shared_CK=shared_CK,
        active_FL=active_G.reshape(-1, num_levels),
        set_F=set_F,
        f1_F=f1_F,
        null_CR=null_CR,
    )


def area_under_curve(
    member_m: NDArray[np.integer],
    row_a: NDArray[np.integer],
    value_a: NDArray[np.floating],
    num_tokens: int,
) -> float:
    """AUC of a feature's activation for membership of a set; inactive tokens tie at zero.

    Args:
        member_m: tokens of the set.
        row_a: ascending tokens on which the feature is active.
        value_a: its activations there, above zero.
        num_tokens: N.

    NaN where the set is empty or holds all tokens.
    """
    size, num_zero = len(member_m), num_tokens - len(row_a)
    if not 0 < size < num_tokens:
        return float("nan")
    place_m = np.searchsorted(row_a, member_m)
    padded = np.append(row_a, -1)
    own = value_a[place_m[padded[place_m] == member_m]]
    ordered = np.sort(value_a)
    low, high = np.searchsorted(ordered, own, "left"), np.searchsorted(ordered, own, "right")
    ranks = float((num_zero + (low + high + 1) / 2).sum())
    ranks += (size - own.size) * (num_zero + 1) / 2
    return float((ranks - size * (size + 1) / 2) / (size * (num_tokens - size)))


def share_at(values: NDArray[np.floating], thresholds: Sequence[float]) -> list[float]:
    """Share of values that reach each threshold; NaN of none."""
    flat = np.sort(np.asarray(values, np.float64).reshape(-1))
    if not flat.size:
        return [float("nan")] * len(thresholds)
    below = np.searchsorted(flat, np.asarray(thresholds), side="left")
    return [float(share) for share in 1.0 - below / flat.size]


@dataclass(frozen=True, kw_only=True)
class _Scratch:
    """Arrays that are zero between sets."""

    count_G: NDArray[np.int64]
    touched_G: NDArray[np.int64]
    stamp_N: NDArray[np.int8]

    @classmethod
    def of(cls, rows: FeatureRows) -> _Scratch:
        return cls(
            count_G=np.zeros(rows.num_columns, np.int64),
            touched_G=np.zeros(rows.num_columns, np.int64),
            stamp_N=np.zeros(rows.num_tokens, np.int8),
        )


def _ratio(over: NDArray[Any], under: NDArray[Any]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.asarray(over, np.float64) / np.maximum(under, 1)
    return found
