"""Clusters of one token in several runs, matched by shared members.

As in the published figure of a token across models (Timaeus 2026): per run, the clusters with the
token among their most common ones. For runs of the same sequences, clusters are matched by the
Jaccard index of their members (ADR 027). Shapes: N tokens, C clusters, M members of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.config import MATCH_THRESHOLD
from spectro.clustering.matching import Clustering, best_matches
from spectro.tokens.display.context_text import TokenInContext
from spectro.tokens.display.terminal_text import typed

LEAST_LINK = 0.05
"""Least Jaccard index of a link."""


@dataclass(frozen=True, kw_only=True)
class TokenCluster:
    """A cluster with the token among its most common ones."""

    cluster_id: int
    size: int
    count: int
    """Members whose y is the token."""
    share: float
    """Share of the token's occurrences in the run."""
    conductance: float
    stability: float
    """NaN if unknown."""
    top_tokens: tuple[str, ...]
    """Most common y, in the display alphabet."""
    contexts: tuple[TokenInContext, ...]
    """Random members with that y."""


@dataclass(frozen=True, kw_only=True)
class TokenInRun:
    """One run's column."""

    name: str
    """Of the run."""
    num_tokens: int
    """Tokens that were clustered."""
    num_occurrences: int
    num_clustered: int
    """Occurrences in any cluster."""
    num_clusters: int
    """Clusters with the token among their most common ones."""
    clusters: tuple[TokenCluster, ...]
    """Most occurrences first."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """Two clusters of two runs that share tokens."""

    runs: tuple[int, int]
    """Indices of the runs."""
    clusters: tuple[int, int]
    """Ids of the clusters."""
    jaccard: float
    """Of their members among the tokens of both runs."""
    matched: bool
    """Mutual best match, with an index of at least 0.5."""


@dataclass(frozen=True, kw_only=True)
class Across:
    """Columns and links of all runs."""

    token: str
    """As it was asked for."""
    runs: tuple[TokenInRun, ...]
    """In the order asked for."""
    links: tuple[Link, ...]
    """Of all pairs of runs that share sequences."""
    notes: tuple[str, ...]
    """A sentence for each pair without shared sequences."""
    subset_names: tuple[str, ...]
    """What `TokenInContext.subset` counts."""


def ids_of(token: str, pieces: Sequence[bytes | None]) -> NDArray[np.int64]:
    """Ids whose text is the token, ignoring surrounding white space.

    A token with a mark · ⏎ ⇥ (space, line break, tab) is taken literally.
    """
    text = typed(token)
    exact = text != token or not token.strip()
    wanted = (text if exact else token.strip()).encode("utf-8")
    return np.array(
        [
            index
            for index, piece in enumerate(pieces)
            if piece is not None and (piece == wanted if exact else piece.strip() == wanted)
        ],
        np.int64,
    )


def clusters_with(
    ids: NDArray[np.integer], top_tokens_C: Sequence[Sequence[int]]
) -> NDArray[np.int64]:
    """Clusters with any of the ids among their most common tokens."""
    wanted = set(ids.tolist())
    found = [index for index, tops in enumerate(top_tokens_C) if wanted & set(tops)]
    return np.array(found, np.int64)


def counts_of(
    is_token_N: NDArray[np.bool_],
    token_id_M: NDArray[np.integer],
    cluster_M: NDArray[np.integer],
    num_clusters: int,
) -> NDArray[np.int64]:
    """Members of each cluster whose y is the token, int64 [C]; row n is token id n."""
    return np.bincount(cluster_M[is_token_N[token_id_M]], minlength=num_clusters).astype(np.int64)


def links(
    a: Clustering,
    b: Clustering,
    shown: tuple[Sequence[int], Sequence[int]],
    runs: tuple[int, int],
    threshold: float = MATCH_THRESHOLD,
) -> list[Link]:
    """Pairs of shown clusters with a Jaccard index of at least `LEAST_LINK`, largest first.

    Args:
        a, b: the clusterings, reduced to the tokens of both.
        shown: ids of the shown clusters of each.
        runs: indices of the runs.
        threshold: least index of a mutual best match.

    Raises ValueError for clusterings of different numbers of tokens.
    """
    best_a, best_b = best_matches(a, b), best_matches(b, a)
    left, right = (np.asarray(ids, np.int64) for ids in shown)
    shared = (a.matrix()[left] @ b.matrix()[right].T).toarray()
    union = a.size_C[left][:, None] + b.size_C[right][None] - shared
    jaccard = shared / np.maximum(union, 1)
    found = [
        Link(
            runs=runs,
            clusters=(int(left[row]), int(right[column])),
            jaccard=float(jaccard[row, column]),
            matched=bool(
                jaccard[row, column] >= threshold
                and best_a.match_C[left[row]] == right[column]
                and best_b.match_C[right[column]] == left[row]
            ),
        )
        for row, column in np.argwhere(jaccard >= LEAST_LINK).tolist()
    ]
    return sorted(found, key=lambda link: (-link.jaccard, link.clusters))
