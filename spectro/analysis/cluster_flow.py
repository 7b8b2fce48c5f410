"""Clusters between two checkpoints: kept, merged, split, gone, born (ADR 106).

Of clusters A of the earlier and B of the later checkpoint, on the same tokens: A *goes to* B if B
holds more than half of A's members; B *comes from* A if more than half of B's members are in A.

Both are kept if A goes to B and B comes from A (of overlapping ones largest Jaccard first).

| A is   | else if                                 | B is  | else if                               |
| merged | it goes to some B                       | split | it comes from some A                  |
| split  | more than half of it is in B that come  | merged| more than half of it is in A that go  |
|        | from it                                 |       | to it                                 |
| gone   | else                                    | born  | else                                  |

Read backwards a merger is a split. A Jaccard index above 1/2 implies `kept`: the indices are those
of `clustering/matching.py`. Shapes: N tokens, A and B clusters, P pairs of clusters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from spectro.clustering.compare import NUM_SHUFFLES, shuffled_order
from spectro.clustering.matching import Clustering

Ints = NDArray[np.int64]
NULL_KEY = 0xF10
"""Stream of random numbers, next to the seed."""


class Fate(StrEnum):
    """What a cluster becomes at the next checkpoint."""

    KEPT = "kept"
    MERGED = "merged"
    SPLIT = "split"
    GONE = "gone"


class Origin(StrEnum):
    """Where a cluster is from."""

    KEPT = "kept"
    MERGED = "merged"
    SPLIT = "split"
    BORN = "born"


@dataclass(frozen=True, kw_only=True)
class FlowLink:
    """Two clusters, one of which has more than half of its members in the other."""

    earlier: int
    """Cluster of the earlier checkpoint."""
    later: int
    """Cluster of the later one."""
    shared: int
    """Members of both."""
    jaccard: float
    """Of their members."""
    kept: bool
    """Whether the later one continues the earlier one."""
    goes_to: bool
    """Whether the later one holds more than half of the earlier one."""
    comes_from: bool
    """Whether the earlier one holds more than half of the later one."""


@dataclass(frozen=True, kw_only=True)
class ClusterFlow:
    """Fates and origins of clusters between two checkpoints."""

    fate_A: tuple[Fate, ...]
    """Of the earlier clusters."""
    origin_B: tuple[Origin, ...]
    """Of the later clusters."""
    links: tuple[FlowLink, ...]
    """By earlier, then later cluster."""

    @property
    def num_by_fate(self) -> dict[Fate, int]:
        """EarlierPublication clusters by fate; every fate is a key."""
        found = Counter(self.fate_A)
        return {fate: found[fate] for fate in Fate}

    @property
    def num_by_origin(self) -> dict[Origin, int]:
        """Later clusters by origin; every origin is a key."""
        found = Counter(self.origin_B)
        return {origin: found[origin] for origin in Origin}


@dataclass(frozen=True, kw_only=True)
class FlowShares:
    """Shares of clusters by fate and origin, from several comparisons; NaN without clusters."""

    fates: dict[Fate, float]
    """Of the earlier clusters."""
    origins: dict[Origin, float]
    """Of the later clusters."""

    @classmethod
    def mean_of(cls, flows: Sequence[ClusterFlow]) -> FlowShares:
        """Over flows, which count alike."""
        return cls(
            fates={fate: _share([own.fate_A for own in flows], fate) for fate in Fate},
            origins={origin: _share([own.origin_B for own in flows], origin) for origin in Origin},
        )


def _share(found: Sequence[Sequence[str]], wanted: str) -> float:
    shares = [own.count(wanted) / len(own) for own in found if own]
    return float(np.mean(shares)) if shares else float("nan")


def cluster_flow(a: Clustering, b: Clustering) -> ClusterFlow:
    """Fates of the clusters of `a` and origins of those of `b`, the next checkpoint.

    Raises ValueError for clusterings of different numbers of tokens.
    """
    if a.num_tokens != b.num_tokens:
        raise ValueError(
            f"expected clusterings of the same tokens, found {a.num_tokens} and {b.num_tokens}: "
            "reduce both to the tokens that they share"
        )
    shared = (a.matrix() @ b.matrix().T).tocoo()
    own_P, other_P = shared.row.astype(np.int64), shared.col.astype(np.int64)
    to_P = 2 * shared.data > a.size_C[own_P]
    from_P = 2 * shared.data > b.size_C[other_P]
    jaccard_P = shared.data / (a.size_C[own_P] + b.size_C[other_P] - shared.data)
    kept_P = _one_to_one(own_P, other_P, jaccard_P, to_P & from_P)
    of_split_A = _covered(a, b, own_P[from_P], other_P[from_P])
    of_merged_B = _covered(b, a, other_P[to_P], own_P[to_P])
    order = np.lexsort((other_P, own_P))
    chosen = order[(to_P | from_P)[order]]
    return ClusterFlow(
        fate_A=tuple(
            Fate.KEPT if kept else Fate.MERGED if to else Fate.SPLIT if split else Fate.GONE
            for kept, to, split in zip(
                _any(own_P[kept_P], len(a)), _any(own_P[to_P], len(a)), of_split_A, strict=True
            )
        ),
        origin_B=tuple(
            Origin.KEPT if kept else Origin.SPLIT if of else Origin.MERGED if merged
            else Origin.BORN
            for kept, of, merged in zip(
                _any(other_P[kept_P], len(b)), _any(other_P[from_P], len(b)), of_merged_B,
                strict=True,
            )
        ),
        links=tuple(
            FlowLink(
                earlier=int(own_P[p]), later=int(other_P[p]), shared=int(shared.data[p]),
                jaccard=float(jaccard_P[p]), kept=bool(kept_P[p]), goes_to=bool(to_P[p]),
                comes_from=bool(from_P[p]),
            )
            for p in chosen.tolist()
        ),
    )  # fmt: skip


def by_chance(
    a: Clustering, b: Clustering, *, seed: int = 0, within_N: NDArray[np.integer] | None = None
) -> FlowShares:
    """Shares after shuffling the tokens of `b`, which keeps the sizes of its clusters.

    Args:
        a, b: the clusterings.
        seed: key of the shuffles.
        within_N: shuffle only among tokens of equal value (say, the same y): a harder null.
    """
    orders = [
        shuffled_order(b.num_tokens, (seed, NULL_KEY, index), within_N)
        for index in range(NUM_SHUFFLES)
    ]
    return FlowShares.mean_of([cluster_flow(a, b.shuffled(order_N)) for order_N in orders])


def _one_to_one(
    own_P: Ints, other_P: Ints, jaccard_P: NDArray[np.float64], candidate_P: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Candidates by falling Jaccard index, each cluster once; ties by cluster."""
    kept_P = np.zeros(own_P.size, bool)
    seen_own: set[int] = set()
    seen_other: set[int] = set()
    for p in np.lexsort((other_P, own_P, -jaccard_P)).tolist():
        own, other = int(own_P[p]), int(other_P[p])
        if candidate_P[p] and own not in seen_own and other not in seen_other:
            kept_P[p] = True
            seen_own.add(own)
            seen_other.add(other)
    return kept_P


def _any(cluster_P: Ints, num_clusters: int) -> list[bool]:
    found: list[bool] = (np.bincount(cluster_P, minlength=num_clusters) > 0).tolist()
    return found


def _covered(own: Clustering, other: Clustering, own_P: Ints, other_P: Ints) -> list[bool]:
    """Whether some clusters of `other` together hold more than half of each cluster of `own`."""
    ones = np.ones(own_P.size, np.int32)
    chosen = sparse.csr_matrix((ones, (own_P, other_P)), (len(own), len(other)))
    union = (chosen @ other.matrix()).astype(bool)
    held_C = np.asarray(own.matrix().multiply(union).sum(axis=1)).ravel()
    found: list[bool] = (2 * held_C > own.size_C).tolist()
    return found
