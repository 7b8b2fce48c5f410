"""Compares two clusterings: pair scores, matches, null expectation (ADR 027).

Shapes: N tokens, C clusters of one clustering, P matched pairs, B bins.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.config import MATCH_THRESHOLD
from spectro.clustering.matching import BestMatches, Clustering, best_matches

NUM_SHUFFLES = 3
"""Shuffles of the tokens for the null expectation."""
EDGES = np.linspace(0.0, 1.0, 11)
"""Bins of the distribution of best Jaccard indices; the last one includes 1."""
NULL_KEY = 0xC4A9CE
"""Stream of random numbers, next to the seed."""
Label = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ComparedClustering:
    """One of two clusterings against the other."""

    num_clusters: int
    """C."""
    num_clustered: int
    """Tokens in at least one cluster."""
    size_C: NDArray[np.int64]
    """Members among the common tokens."""
    best: BestMatches
    """Best match of every cluster."""
    null_C: NDArray[np.float32]
    """Mean best Jaccard index after shuffling the other clustering's tokens (null)."""
    null_share_matched: float
    """Share of clusters that reach the threshold under shuffling."""
    histogram_B: NDArray[np.int64]
    """Clusters by best Jaccard index, ten bins."""
    null_histogram_B: NDArray[np.float64]
    """The same under shuffling, mean of the shuffles."""
    matched_C: NDArray[np.bool_]
    """Whether each cluster is matched."""

    @property
    def share_matched(self) -> float:
        """Share of the clusters that are matched; NaN without clusters."""
        return float(self.matched_C.mean()) if self.num_clusters else float("nan")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Result of `compare`. ARI is 0 for chance and 1 for equal clusterings."""

    num_common: int
    """Tokens of both clusterings."""
    num_both: int
    """Tokens clustered in both."""
    threshold: float
    """Least Jaccard index of a matched pair."""
    ari_both: float
    """Adjusted Rand index over the tokens clustered in both; NaN without any."""
    nmi_both: float
    """Normalised mutual information over the same."""
    ari_all: float
    """Adjusted Rand index over all common tokens, each unclustered one as its own class."""
    nmi_all: float
    """Normalised mutual information over all, unclustered tokens as one class."""
    a: ComparedClustering
    """First against second."""
    b: ComparedClustering
    """Second against first."""
    pairs_P2: NDArray[np.int32]
    """Matched clusters: mutual best matches above the threshold."""


def compare(
    a: Clustering,
    b: Clustering,
    *,
    threshold: float = MATCH_THRESHOLD,
    seed: int = 0,
    within_N: NDArray[np.integer] | None = None,
) -> Comparison:
    """Compare two clusterings of the same N tokens.

    Unclustered tokens are one class each in ARI (as one class, their agreeing pairs would dominate)
    and one class in NMI (singletons drive NMI to 1). Both scores take the smallest cluster of an
    overlapping token; Jaccard indices need no such choice.

    Args:
        a, b: the clusterings.
        threshold: least Jaccard index of a matched pair, in (0, 1].
        seed: key of the shuffles.
        within_N: shuffle only among tokens of equal value (say, the same y): a harder null.

    Raises ValueError for different numbers of tokens, or a threshold out of range.
    """
    if not 0.0 < threshold <= 1.0:
        raise ValueError(f"the threshold of a match must be in (0, 1], found {threshold}")
    best_a, best_b = best_matches(a, b), best_matches(b, a)
    pairs = _mutual(best_a, best_b, threshold)
    label_a, label_b = a.label_N, b.label_N
    both = (label_a >= 0) & (label_b >= 0)
    clustered = label_a[both], label_b[both]
    return Comparison(
        num_common=a.num_tokens,
        num_both=int(both.sum()),
        threshold=threshold,
        ari_both=_ari(*clustered),
        nmi_both=_nmi(*clustered),
        ari_all=_ari(_singletons(label_a), _singletons(label_b)),
        nmi_all=_nmi(label_a, label_b),
        a=_side(a, b, best_a, pairs[:, 0], (threshold, seed, within_N)),
        b=_side(b, a, best_b, pairs[:, 1], (threshold, seed, within_N)),
        pairs_P2=pairs,
    )


def _mutual(a: BestMatches, b: BestMatches, threshold: float) -> NDArray[np.int32]:
    own = np.arange(a.match_C.size, dtype=np.int32)
    found = (a.match_C >= 0) & (a.jaccard_C >= np.float32(threshold))
    own = own[found]
    match = a.match_C[found]
    mutual = b.match_C[match] == own
    return np.stack([own[mutual], match[mutual]], axis=1)


def _side(
    own: Clustering,
    other: Clustering,
    best: BestMatches,
    matched: NDArray[np.int32],
    null: tuple[float, int, NDArray[np.integer] | None],
) -> ComparedClustering:
    threshold, seed, within_N = null
    shuffled = [
        best_matches(
            own, other.shuffled(shuffled_order(own.num_tokens, (seed, NULL_KEY, i), within_N))
        )
        for i in range(NUM_SHUFFLES)
    ]
    null_SC = np.stack([each.jaccard_C for each in shuffled])
    is_matched = np.zeros(len(own), bool)
    is_matched[matched] = True
    return ComparedClustering(
        num_clusters=len(own),
        num_clustered=int(np.unique(own.rows).size),
        size_C=own.size_C,
        best=best,
        null_C=null_SC.mean(axis=0, dtype=np.float64).astype(np.float32),
        null_share_matched=float((null_SC >= np.float32(threshold)).mean()) if len(own) else 0.0,
        histogram_B=_histogram(best.jaccard_C),
        null_histogram_B=_histogram(null_SC.ravel()) / NUM_SHUFFLES,
        matched_C=is_matched,
    )


def _histogram(jaccard_C: NDArray[np.float32]) -> NDArray[np.int64]:
    num_bins = EDGES.size - 1
    bins = np.floor(jaccard_C.astype(np.float64) * num_bins + 1e-5)  # float32 0.7 is below 0.7
    return np.bincount(np.minimum(bins, num_bins - 1).astype(np.int64), minlength=num_bins)


def shuffled_order(
    num_tokens: int, key: tuple[int, ...], within_N: NDArray[np.integer] | None
) -> NDArray[np.int64]:
    """Keyed permutation of the rows, within classes if given."""
    rng = np.random.default_rng(key)
    order: NDArray[np.int64] = rng.permutation(num_tokens)
    if within_N is None:
        return order
    result = np.empty(num_tokens, np.int64)
    result[np.argsort(within_N, kind="stable")] = order[np.argsort(within_N[order], kind="stable")]
    return result


def _singletons(label_N: Label) -> Label:
    alone = label_N < 0
    result = label_N.copy()
    result[alone] = label_N.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    return result


def _ari(label_a: Label, label_b: Label) -> float:
    from sklearn.metrics import adjusted_rand_score  # imports for two seconds

    return float(adjusted_rand_score(label_a, label_b)) if label_a.size else float("nan")


def _nmi(label_a: Label, label_b: Label) -> float:
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(label_a, label_b)) if label_a.size else float("nan")
