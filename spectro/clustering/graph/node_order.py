"""Locality order of the nodes: tokens that list each other are close in memory.

A seed touches thousands of tokens near each other in the graph; in locality order they share cache
lines (ADR 026).

Shapes: N tokens, k neighbours.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

PIECE = 1024
"""Tokens of a breadth-first piece."""


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def locality_order(index_Nk: NDArray[np.int32]) -> NDArray[np.int32]:
    """Breadth-first order in pieces of `PIECE` tokens, each from the first token left.

    Linear in the entries. Returns the token of every node, [N].
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
    """Node of every token, from the token of every node."""
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
    """Fill some rows of the lists renamed from tokens to nodes; returns their number."""
    for place in range(low, high):
        token = token_N[place]
        for j in range(index_Nk.shape[1]):
            into_index_Nk[place, j] = place_N[index_Nk[token, j]]
            into_distance_Nk[place, j] = distance_Nk[token, j]
    return high - low
