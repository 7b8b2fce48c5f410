"""Known kinds of token (induction, word parts, digits, …) and how well responses separate them.

For each kind, tokens are ranked by how many of their nearest neighbours in other sequences are of
that kind: nothing is fitted. AUC is the probability that a token of the kind ranks above another:
0.5 is chance.

Shapes: S sequences, T context, N = S·T tokens, H components, D dimensions, M memberships, K
clusters, P kinds, n evaluated tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.analysis.patterns import (
    Bools,
    Ids,
    Traits,
    induction,
    numeric,
    spacing,
    word_part,
)

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

NUM_NEIGHBOURS, MAX_JUDGED, JUDGED_AT_ONCE = 20, 2048, 256
LEAST_TOKENS = 50
"""Least tokens of a kind, and not of it."""
MOST_COMPONENTS, MOST_CLUSTERS = 4, 6
OF_ONE_KIND = 0.5
"""Least share of members for a cluster of that kind."""
LEAST_MEMBERS = 10
"""Least sampled members of a cluster for its share."""


def _line_layout(traits: Traits, ids_ST1: Ids) -> Bools:
    result: Bools = spacing(traits, ids_ST1) | traits.has_break[ids_ST1[:, 1:]]
    return result


def _brackets(traits: Traits, ids_ST1: Ids) -> Bools:
    return traits.brackets[ids_ST1[:, 1:]]


def _quotes(traits: Traits, ids_ST1: Ids) -> Bools:
    return traits.quotes[ids_ST1[:, 1:]]


KINDS: dict[str, tuple[str, Callable[[Traits, Ids], Bools]]] = {
    "induction": ("the token before it and it have followed each other before", induction),
    "word parts": ("a later piece of a word", word_part),
    "digits": ("decimal digits", numeric),
    "line breaks and indentation": ("white space that lays out lines", _line_layout),
    "brackets": ("( ) [ ] { } < >", _brackets),
    "quotation marks": ("\" ' ` and typographic ones", _quotes),
}
"""Name → (description, selector of tokens)."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Sampled whole sequences of a run."""

    ids_ST1: Ids
    """Token ids."""
    loss_N: Floats
    """ℓ at w*, nats."""
    chi_NH: Floats
    """Susceptibilities, in any units per column."""
    seen_ND: Floats
    """Vectors of the clusters' transform."""
    components: tuple[str, ...]
    token_M: Ints
    """Sampled members of clusters, as indices into the N tokens."""
    cluster_M: Ints
    """Their clusters."""


@dataclass(frozen=True, kw_only=True)
class KnownKinds:
    """Separation of one kind of token by the responses."""

    name: str
    meaning: str
    num_tokens: int
    """In the sample."""
    auc: float
    """AUC of nearest neighbours in other sequences; NaN if the kind is too rare."""
    auc_of_loss: float
    """AUC of ℓ alone, in either direction: the baseline without susceptibilities."""
    components: tuple[tuple[str, float], ...]
    """Best single columns with their AUC."""
    clusters: tuple[tuple[int, float], ...]
    """Clusters of this kind with the share of its members, largest first; at least LEAST_MEMBERS in
    the sample."""
    num_clusters: int
    """Number of all such clusters."""
    held: float
    """Share of the kind's tokens in these clusters; NaN if none could be evaluated."""


def find(sample: Sample, traits: Traits) -> tuple[KnownKinds, ...]:
    """Results for every kind; ValueError for ids outside the vocabulary."""
    if sample.ids_ST1.size and int(sample.ids_ST1.max()) >= traits.all_letters.size:
        raise ValueError(
            f"expected token ids below {traits.all_letters.size}, found "
            f"{int(sample.ids_ST1.max())}: is this the vocabulary of another model?"
        )
    is_kind_NP = np.stack([k(traits, sample.ids_ST1).reshape(-1) for _, k in KINDS.values()], -1)
    sequence_N = np.repeat(np.arange(len(sample.ids_ST1)), sample.ids_ST1.shape[1] - 1)
    auc_P = neighbour_auc(sample.seen_ND, is_kind_NP, sequence_N)
    return tuple(
        _found(name, meaning, is_kind_NP[:, p], float(auc_P[p]), sample)
        for p, (name, (meaning, _)) in enumerate(KINDS.items())
    )


def _found(name: str, meaning: str, is_kind_N: Bools, auc: float, sample: Sample) -> KnownKinds:
    num_tokens = int(is_kind_N.sum())
    known = min(num_tokens, is_kind_N.size - num_tokens) >= LEAST_TOKENS
    clusters, held = _clusters(is_kind_N, sample)
    return KnownKinds(
        name=name,
        meaning=meaning,
        num_tokens=num_tokens,
        auc=auc if known else np.nan,
        auc_of_loss=_either_way(is_kind_N, sample.loss_N) if known else np.nan,
        components=_components(is_kind_N, sample) if known else (),
        clusters=clusters[:MOST_CLUSTERS],
        num_clusters=len(clusters),
        held=held,
    )


def neighbour_auc(seen_ND: Floats, is_kind_NP: Bools, sequence_N: Ints) -> Floats:
    """AUC of the share of a token's nearest neighbours of a kind, for every kind, [P].

    Tokens of the same sequence are excluded. At most MAX_JUDGED tokens are evaluated. NaN without
    both classes or with one sequence.
    """
    if np.unique(sequence_N).size < 2:
        return np.full(is_kind_NP.shape[1], np.nan)
    judged_n = np.arange(0, len(seen_ND), max(1, -(-len(seen_ND) // MAX_JUDGED)))
    x_ND = seen_ND.astype(np.float32)
    half_square_N = 0.5 * (x_ND**2).sum(axis=1)
    num = min(NUM_NEIGHBOURS, len(x_ND))
    share_nP = np.empty((judged_n.size, is_kind_NP.shape[1]))
    for start in range(0, judged_n.size, JUDGED_AT_ONCE):
        rows = judged_n[start : start + JUDGED_AT_ONCE]
        near_nN = half_square_N - x_ND[rows] @ x_ND.T
        near_nN[sequence_N[rows][:, None] == sequence_N] = np.inf
        nearest = np.argpartition(near_nN, num - 1, axis=1)[:, :num]
        share_nP[start : start + rows.size] = is_kind_NP[nearest].mean(axis=1)
    kinds = [
        (own_N[judged_n], share_n) for own_N, share_n in zip(is_kind_NP.T, share_nP.T, strict=True)
    ]
    return np.array([_auc(*kind) if 0 < kind[0].sum() < kind[0].size else np.nan for kind in kinds])


def _components(is_kind_N: Bools, sample: Sample) -> tuple[tuple[str, float], ...]:
    """Single columns by their AUC, in either direction."""
    auc_H = [_either_way(is_kind_N, column_N) for column_N in sample.chi_NH.T]
    best = sorted(zip(sample.components, auc_H, strict=True), key=lambda pair: (-pair[1], pair[0]))
    return tuple(best[:MOST_COMPONENTS])


def _clusters(is_kind_N: Bools, sample: Sample) -> tuple[tuple[tuple[int, float], ...], float]:
    """Clusters with a majority of a kind, and the share of its tokens in them.

    Clusters of fewer than LEAST_MEMBERS sampled members are left out.
    """
    if not sample.cluster_M.size:
        return (), 0.0
    size_K = np.bincount(sample.cluster_M)
    count_K = np.bincount(sample.cluster_M, weights=is_kind_N[sample.token_M])
    if size_K.max() < LEAST_MEMBERS:
        return (), np.nan
    share_K = count_K / np.maximum(size_K, 1)
    chosen = np.flatnonzero((share_K >= OF_ONE_KIND) & (size_K >= LEAST_MEMBERS))
    inside = np.unique(sample.token_M[np.isin(sample.cluster_M, chosen)])
    held = float(is_kind_N[inside].sum() / max(1, is_kind_N.sum()))
    order = chosen[np.lexsort((chosen, -size_K[chosen]))]
    return tuple((int(k), float(share_K[k])) for k in order), held


def _either_way(is_kind_N: Bools, score_N: Floats) -> float:
    auc = _auc(is_kind_N, score_N)
    return max(auc, 1 - auc)


def _auc(is_kind_N: Bools, score_N: Floats) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(is_kind_N, score_N))
