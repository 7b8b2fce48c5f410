"""Agreement of two sets of kNN lists of the same tokens.

Lists from disjoint halves of the draws share what is not noise, independent of clusters and seeds.
Shapes: N tokens, k neighbours, C clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spectro.clustering.knn.neighbours import Neighbours


@dataclass(frozen=True, kw_only=True)
class NeighbourAgreement:
    """Shared neighbours per token."""

    share_N: NDArray[np.float32]
    """|a's list ∩ b's list| / k, from 0 to 1."""
    chance: float
    """Expected share of independent lists, k / (N − 1)."""

    @property
    def mean(self) -> float:
        """Mean over all tokens, NaN without any."""
        return float(self.share_N.mean(dtype=np.float64)) if self.share_N.size else float("nan")

    def of_clusters(self, members: Sequence[NDArray[np.integer]]) -> NDArray[np.float32]:
        """Mean over the members of every cluster, float32 [C]."""
        means = [self.share_N[rows].mean(dtype=np.float64) for rows in members]
        return np.array(means, np.float32)


def neighbour_agreement(
    lists_a: Neighbours, lists_b: Neighbours, *, num_tokens: int | None = None
) -> NeighbourAgreement:
    """Shared neighbours of lists of the same rows; the order in a list is ignored.

    Args:
        lists_a, lists_b: of the same rows, with the same k.
        num_tokens: N, if the lists are one block of more rows; None: the rows given.

    Raises ValueError if the lists have different shapes.
    """
    a_Nk, b_Nk = np.asarray(lists_a.index_Nk), np.asarray(lists_b.index_Nk)
    if a_Nk.shape != b_Nk.shape:
        raise ValueError(
            f"expected lists of the same rows and k, found {a_Nk.shape} and {b_Nk.shape}: "
            "were they made with other settings or of other tokens?"
        )
    num_tokens = len(a_Nk) if num_tokens is None else num_tokens
    shared_N = _shared(a_Nk, b_Nk)
    share_N = (shared_N / max(a_Nk.shape[1], 1)).astype(np.float32)
    return NeighbourAgreement(share_N=share_N, chance=a_Nk.shape[1] / max(num_tokens - 1, 1))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _shared(a_Nk: NDArray[np.int32], b_Nk: NDArray[np.int32]) -> NDArray[np.int64]:
    """Common entries of every row, by merging sorted rows."""
    shared_N = np.zeros(a_Nk.shape[0], np.int64)
    for row in range(a_Nk.shape[0]):
        a, b = np.sort(a_Nk[row]), np.sort(b_Nk[row])
        i, j = 0, 0
        while i < a.size and j < b.size:
            if a[i] == b[j]:
                shared_N[row] += 1
                i += 1
                j += 1
            elif a[i] < b[j]:
                i += 1
            else:
                j += 1
    return shared_N
