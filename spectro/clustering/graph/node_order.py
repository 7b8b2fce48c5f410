"""An order of the tokens in which those that list each other stand near each other.

A seed touches some thousands of tokens that are near each other in the graph. Where they stand
anywhere in arrays as long as the graph, every one of them costs a cache line or two from memory;
where they stand side by side, an eighth or a sixteenth of one (ADR 026).

Shapes: N tokens, k neighbours.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

PIECE = 1024
"""Tokens of a piece that is walked before another is begun: some rows of the graph in a cache."""


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def near_order(index_Nk: NDArray[np.int32]) -> NDArray[np.int32]:
    """Tokens in pieces of `PIECE`: the first that is left, those that it lists, those that they do.

    Linear in the entries; a function of the lists. Returns the token of every place, [N].
    """
    num_tokens, k = index_Nk.shape
    is_placed = np.zeros(num_tokens, np.uint8)
    token_N = np.empty(num_tokens, np.int32)
    num_placed = 0
    for first in range(num_tokens):
        if is_placed[first]:
            continue
        head, end = num_placed, min(num_tokens, num_placed + PIECE)
        is_placed[first] = 1
        token_N[num_placed] = first
        num_placed += 1
        while head < num_placed < end:
            for j in range(k):
                listed = index_Nk[token_N[head], j]
                if num_placed < end and is_placed[listed] == 0:
                    is_placed[listed] = 1
                    token_N[num_placed] = listed
                    num_placed += 1
            head += 1
    return token_N


def inverse(token_N: NDArray[np.int32]) -> NDArray[np.int32]:
    """Place of every token, given the token of every place."""
    place_N = np.empty_like(token_N)
    place_N[token_N] = np.arange(token_N.size, dtype=np.int32)
    return place_N


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def rename(
    index_Nk: NDArray[np.int32],
    distance_Nk: NDArray[np.floating],
    token_N: NDArray[np.int32],
    place_N: NDArray[np.int32],
    low: int,
    high: int,
    into_index_Nk: NDArray[np.int32],
    into_distance_Nk: NDArray[np.floating],
) -> int:
    """Fill some places of lists that are in the order of places and name places; how many."""
    for place in range(low, high):
        token = token_N[place]
        for j in range(index_Nk.shape[1]):
            into_index_Nk[place, j] = place_N[index_Nk[token, j]]
            into_distance_Nk[place, j] = distance_Nk[token, j]
    return high - low
