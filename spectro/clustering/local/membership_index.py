"""Index from tokens to overlapping clusters, for the best Jaccard index of a new set.

Linked lists in growing arrays: 4 bytes per token and 8 per member; a query costs the memberships of
the set's tokens, not a pass over all.
Shapes: N tokens, E members of all clusters so far, C clusters, M tokens of one set.
"""

from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

END = -1
"""After the last entry of a list."""
FIRST_ROOM = 1024
T = TypeVar("T", np.int32, np.float64)


class MembershipIndex:
    """Clusters of every token; grows with every accepted cluster."""

    def __init__(self, num_tokens: int) -> None:
        self._head_N = np.full(num_tokens, END, np.int32)
        self._next_E = np.empty(FIRST_ROOM, np.int32)
        self._owner_E = np.empty(FIRST_ROOM, np.int32)
        self._size_C = np.empty(FIRST_ROOM, np.int32)
        self._shared_C = np.zeros(FIRST_ROOM, np.int32)
        self._quality_C = np.empty(FIRST_ROOM, np.float64)
        self._num_entries = self._num_clusters = 0

    def best_jaccard(self, tokens: NDArray[np.int32], conductance: float = np.inf) -> float:
        """Largest Jaccard index with an accepted cluster of at most this conductance; 0 if none."""
        lists = self._head_N, self._next_E, self._owner_E
        of_clusters = self._size_C, self._quality_C, self._shared_C
        return float(_best(tokens, *lists, *of_clusters, conductance))

    def add(self, tokens: NDArray[np.int32], conductance: float = 0.0) -> None:
        """Add an accepted cluster."""
        num_entries = self._num_entries + tokens.size
        self._next_E = _with_room(self._next_E, num_entries)
        self._owner_E = _with_room(self._owner_E, num_entries)
        entries = np.arange(self._num_entries, num_entries, dtype=np.int32)
        self._next_E[entries] = self._head_N[tokens]
        self._owner_E[entries] = self._num_clusters
        self._head_N[tokens] = entries
        self._num_entries = num_entries
        self._size_C = _with_room(self._size_C, self._num_clusters + 1)
        self._shared_C = _with_room(self._shared_C, self._num_clusters + 1)
        self._quality_C = _with_room(self._quality_C, self._num_clusters + 1)
        self._size_C[self._num_clusters] = tokens.size
        self._quality_C[self._num_clusters] = conductance
        self._num_clusters += 1


def _with_room(array: NDArray[T], size: int) -> NDArray[T]:
    """The array, or a longer copy if it is too short."""
    if size <= array.size:
        return array
    longer = np.zeros(max(size, 2 * array.size), array.dtype)
    longer[: array.size] = array
    return longer


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _best(
    tokens_M: NDArray[np.int32],
    head_N: NDArray[np.int32],
    next_E: NDArray[np.int32],
    owner_E: NDArray[np.int32],
    size_C: NDArray[np.int32],
    quality_C: NDArray[np.float64],
    shared_C: NDArray[np.int32],
    bound: float,
) -> float:
    """`shared_C` is zero before and after."""
    for token in tokens_M:
        entry = head_N[token]
        while entry != END:
            shared_C[owner_E[entry]] += 1
            entry = next_E[entry]
    best = 0.0
    for token in tokens_M:
        entry = head_N[token]
        while entry != END:
            owner = owner_E[entry]
            if quality_C[owner] <= bound:
                shared = shared_C[owner]
                best = max(best, shared / (size_C[owner] + tokens_M.size - shared))
            entry = next_E[entry]
    for token in tokens_M:
        entry = head_N[token]
        while entry != END:
            shared_C[owner_E[entry]] = 0
            entry = next_E[entry]
    return best
