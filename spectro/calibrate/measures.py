"""Neighbours that disjoint draws find again, and purity, at n tokens with r draws each.

A pilot's draws are cut into disjoint sets of r; its tokens into nested sets of n. χ of each set is
preprocessed as the run's clusters are (`cluster.preprocess`; χ is `restricted`: there is no shared
response to take out), and the k nearest neighbours of the same tokens, the queries, are looked for
among all n.

Shapes: N tokens, Q queries, H components, K neighbours, P patterns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectro.calibrate.responses import Float32, Responses
from spectro.clustering.config import ClusterConfig, Preprocess
from spectro.clustering.knn.exact import exact_neighbours, row_blocks
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.list_agreement import neighbour_agreement
from spectro.clustering.vectors.preprocess import fit_transform
from spectro.susceptibility.reliability import column_correlation

Ints = npt.NDArray[np.integer]
MAX_PAIRS = 4
"""Pairs of disjoint sets of draws that are averaged over, at most."""
BLOCK_ROWS = 65_536


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What is known of the pilot's tokens without any draw."""

    y_N: Ints
    """The token itself, by its id."""
    pattern_NP: npt.NDArray[np.bool_]
    """Pattern types (analysis/patterns.py)."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Measured at n tokens and r draws."""

    num_tokens: int
    """n."""
    num_draws: int
    """r, of each of the two sets that are compared."""
    shared: float
    """Share of a token's neighbours that a disjoint set of r draws finds again."""
    chance: float
    """What chance shares: k/(n − 1)."""
    error: float
    """Standard error of `shared`, binomial over queries, places and pairs of sets."""
    purity: float
    """Share of the neighbours with the same y."""
    pattern_purity: float
    """Share of the neighbours of the same pattern type, less chance and over what is left of 1;
    mean over the types that the pilot has."""
    reliability: float
    """Correlation of the two sets' χ, mean over columns."""


def measure(
    responses: Responses,
    nbeta: float,
    labels: Labels,
    num_tokens: Sequence[int],
    num_draws: Sequence[int],
    k: int,
    preprocess: Preprocess,
) -> list[Cell]:
    """Every (n, r) of a grid, n by n; the queries are the first tokens, as many as the least n."""
    return [
        _cell(responses, nbeta, labels, n, r, min(num_tokens), k, preprocess)
        for n in num_tokens
        for r in num_draws
    ]


def disjoint_sets(num_draws: int, size: int) -> Iterator[tuple[range, range]]:
    """Pairs of disjoint sets of so many draws, whole antithetic pairs each."""
    starts = range(0, num_draws - 2 * size + 1, 2 * size)
    for start in starts[:MAX_PAIRS]:
        yield range(start, start + size), range(start + size, start + 2 * size)


def _cell(
    responses: Responses,
    nbeta: float,
    labels: Labels,
    num_tokens: int,
    num_draws: int,
    num_queries: int,
    k: int,
    preprocess: Preprocess,
) -> Cell:
    shared, purity, patterns, agreement = [], [], [], []
    for pair in disjoint_sets(responses.num_draws, num_draws):
        chi = [responses.chi(draws, nbeta, num_tokens) for draws in pair]
        vectors = [_vectors(chi_NH, preprocess) for chi_NH in chi]
        lists = [_nearest(x_ND, num_queries, k) for x_ND in vectors]
        found = neighbour_agreement(*lists, num_tokens=num_tokens)
        shared.append(found.mean)
        agreement.append(float(column_correlation(*chi).mean()))
        purity += [same_label(own.index_Nk, labels.y_N) for own in lists]
        patterns += [_pattern_purity(own.index_Nk, labels.pattern_NP[:num_tokens]) for own in lists]
    share, chance = float(np.mean(shared)), found.chance
    expected = max(share, chance)  # a share of 0 has an error too
    return Cell(
        num_tokens=num_tokens,
        num_draws=num_draws,
        shared=share,
        chance=chance,
        error=math.sqrt(expected * (1 - expected) / (num_queries * k * len(shared))),
        purity=float(np.mean(purity)),
        pattern_purity=float(np.mean(patterns)),
        reliability=float(np.mean(agreement)),
    )


def _vectors(chi_NH: Float32, preprocess: Preprocess) -> Float32:
    return fit_transform(chi_NH, ClusterConfig(preprocess=preprocess)).apply(chi_NH)


def _nearest(x_ND: Float32, num_queries: int, k: int) -> Neighbours:
    rows = np.arange(num_queries)
    return exact_neighbours(x_ND[:num_queries], rows, row_blocks(x_ND, BLOCK_ROWS), k)


def same_label(index_QK: Ints, label_N: Ints) -> float:
    """Mean share of a query's neighbours that have its own label; queries are the first rows."""
    own_Q = label_N[: len(index_QK)]
    return float((label_N[index_QK] == own_Q[:, None]).mean())


def _pattern_purity(index_QK: Ints, pattern_NP: npt.NDArray[np.bool_]) -> float:
    """Mean over patterns of (share of a member's neighbours that are members − base)/(1 − base)."""
    found = []
    for member_N in pattern_NP.T:
        base, queries = float(member_N.mean()), np.flatnonzero(member_N[: len(index_QK)])
        if queries.size and base < 1:
            share = float(member_N[index_QK[queries]].mean())
            found.append((share - base) / (1 - base))
    return float(np.mean(found)) if found else float("nan")
