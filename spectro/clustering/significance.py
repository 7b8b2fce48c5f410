"""Permutation test of clusters within tokens of equal y (ADR 069).

A cluster S found in one half of the draws is tested in the kNN lists of the other half:

    T(S) = Σ_{i ∈ S} |N(i) ∩ S|,  N(i) = the token's k nearest neighbours there.

Null hypothesis: tokens of equal y are exchangeable in the other half, given the first. Then T(S)
and T(S*) have the same distribution, S* random with as many tokens of every y as S. The half in
which S was found cannot test it: its tokens are near each other there by selection.

Shapes: N tokens, k neighbours, C clusters, V values of y.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spectro.clustering.matching import Clustering, best_matches

NUM_SHUFFLES = 499
"""Permutations at most: the least p-value is 1 / 500."""
ENOUGH = 10
"""Exceedances after which the test stops early; p stays valid (Besag and Clifford 1991)."""
MAX_ROWS = 128
"""Members whose lists are counted, the most central first: bounds the work."""
LEAST_MATCH = 0.1
"""Least Jaccard index at which a half's cluster is the same structure (ADR 069)."""
SHUFFLE_KEY = 0x516
"""Stream of random numbers, next to the seed."""


@dataclass(frozen=True, kw_only=True)
class TokenGroups:
    """Tokens by their y."""

    y_N: NDArray[np.int64]
    """y of every token, as 0 … V−1."""
    token_N: NDArray[np.int32]
    """Tokens, those of equal y beside each other."""
    start_V: NDArray[np.int64]
    """First place of every y in `token_N`, and N at the end, [V + 1]."""

    @classmethod
    def of(cls, y_N: NDArray[np.integer]) -> "TokenGroups":
        """From any integer labels of y."""
        _, dense_N, count_V = np.unique(y_N, return_inverse=True, return_counts=True)
        order = np.argsort(dense_N, kind="stable").astype(np.int32)
        start_V = np.concatenate([[0], np.cumsum(count_V)]).astype(np.int64)
        return cls(y_N=dense_N.astype(np.int64), token_N=order, start_V=start_V)


def p_values(
    members: Sequence[NDArray[np.integer]],
    index_Nk: NDArray[np.int32],
    groups: TokenGroups,
    *,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Permutation p-value of every cluster in lists from other draws, float64 [C].

    p = (1 + #{T(S*) ≥ T(S)}) / (1 + permutations), or ENOUGH / permutations after an early stop; 1
    if no other set has the same y. ValueError if lists and groups are of different tokens.
    """
    if len(index_Nk) != groups.y_N.size:
        raise ValueError(
            f"found lists of {len(index_Nk)} tokens and y of {groups.y_N.size}: "
            "are they of the same run?"
        )
    arrays = np.asarray(index_Nk), groups.y_N, groups.token_N, groups.start_V
    stamp_N = np.zeros(len(index_Nk), np.int8)
    p_C = np.ones(len(members), np.float64)
    for cluster, rows in enumerate(members):
        rng = np.random.default_rng((seed, SHUFFLE_KEY, cluster))
        p_C[cluster] = _p_value(np.asarray(rows, np.int32), *arrays, stamp_N, rng)
    return p_C


def benjamini_hochberg(p_C: NDArray[np.float64]) -> NDArray[np.float64]:
    """q-values (Benjamini-Hochberg adjusted p-values), [C].

    Accepting those below q gives a false discovery rate of q.
    """
    count = p_C.size
    order = np.argsort(p_C, kind="stable")
    scaled = p_C[order] * count / np.arange(1, count + 1)
    falling = np.minimum.accumulate(scaled[::-1])[::-1]
    q_C = np.empty(count, np.float64)
    q_C[order] = np.minimum(falling, 1.0)
    return q_C


def q_of_matches(
    whole: Clustering, halves: Sequence[Clustering], q_of_halves: Sequence[NDArray[np.float64]]
) -> NDArray[np.float32]:
    """Largest q-value of each cluster's best matches in the halves, [C].

    1 if a half has no match of Jaccard index LEAST_MATCH. With no structure beyond y, the chance
    that any cluster falls below q is at most q.
    """
    result = np.zeros(len(whole), np.float64)
    for half, q_C in zip(halves, q_of_halves, strict=True):
        found = best_matches(whole, half)
        own = np.concatenate([q_C, [1.0]])[found.match_C]  # −1 (no match) takes the last
        own[found.jaccard_C < LEAST_MATCH] = 1.0
        result = np.maximum(result, own)
    return result.astype(np.float32)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _p_value(
    rows_M: NDArray[np.int32],
    index_Nk: NDArray[np.int32],
    y_N: NDArray[np.int64],
    token_N: NDArray[np.int32],
    start_V: NDArray[np.int64],
    stamp_N: NDArray[np.int8],
    rng: np.random.Generator,
) -> float:
    """`stamp_N` is zero before and after; counted rows are drawn like the rest of the set."""
    y_M = y_N[rows_M]
    order = np.argsort(y_M, kind="mergesort")
    for row in rows_M:
        stamp_N[row] = 1
    observed = _inside(rows_M, index_Nk, stamp_N)
    for row in rows_M:
        stamp_N[row] = 0
    drawn_M = np.empty_like(rows_M)
    num_reached = 0
    for shuffle in range(1, NUM_SHUFFLES + 1):
        draw_same_y(drawn_M, y_M, order, token_N, start_V, stamp_N, rng)
        num_reached += int(_inside(drawn_M, index_Nk, stamp_N) >= observed)
        for row in drawn_M:
            stamp_N[row] = 0
        if num_reached >= ENOUGH:
            return num_reached / shuffle
    return (1 + num_reached) / (1 + NUM_SHUFFLES)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _inside(
    rows_M: NDArray[np.int32], index_Nk: NDArray[np.int32], stamp_N: NDArray[np.int8]
) -> int:
    """Stamped neighbours of the first MAX_ROWS rows."""
    inside = 0
    for position in range(min(rows_M.size, MAX_ROWS)):
        for neighbour in index_Nk[rows_M[position]]:
            inside += stamp_N[neighbour]
    return inside


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def draw_same_y(
    drawn_M: NDArray[np.int32],
    y_M: NDArray[np.int64],
    order_M: NDArray[np.int64],
    token_N: NDArray[np.int32],
    start_V: NDArray[np.int64],
    stamp_N: NDArray[np.int8],
    rng: np.random.Generator,
) -> None:
    """Fill `drawn_M` with distinct random tokens of each position's y, and stamp them.

    Floyd's algorithm draws the distinct tokens of one y; swaps put them in random order, because
    only the first positions are counted. `same_y_sets` (analysis/naming/null_sets.py) draws from
    the same distribution.
    """
    first = 0
    while first < order_M.size:
        y = y_M[order_M[first]]
        last = first
        while last < order_M.size and y_M[order_M[last]] == y:
            last += 1
        count, size, start = last - first, start_V[y + 1] - start_V[y], start_V[y]
        for step in range(count):
            top = size - count + step
            place = int(rng.random() * (top + 1))
            token = token_N[start + place]
            if stamp_N[token] == 1:
                token = token_N[start + top]
            stamp_N[token] = 1
            other = int(rng.random() * (step + 1))
            drawn_M[order_M[first + step]] = drawn_M[order_M[first + other]]
            drawn_M[order_M[first + other]] = token
        first = last
