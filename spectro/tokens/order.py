"""Keyed order of a subset's sequences, independent of how many are taken (ADR 014).

The packed stream is cut into pools of a fixed number of sequences; each pool is permuted, keyed by
(seed, subset, pool), one after another. Asking for more appends: sampling sequences come first,
then evaluation, then probe sequences.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spectro.tokens.keys import keyed_rng

MOST_PERMUTED = 2**24
"""Larger pools (memory maps) are not permuted whole."""
CHUNK = 2**12
"""Random numbers drawn first there, then twice as many each time."""


def num_pools(stop: int, pool_sequences: int) -> int:
    """Number of pools of the first `stop` sequences."""
    return -(-stop // pool_sequences)


def keyed_order(
    seed: int, subset: str, num_available: int, pool_sequences: int, stop: int
) -> NDArray[np.int64]:
    """Positions in the stream of the first `stop` sequences of a subset's order; int64 [stop].

    `num_available` is the length of the stream: `num_pools` whole pools, or all.
    """
    assert stop <= num_available, "more sequences than the stream has"
    parts, first = [np.zeros(0, np.int64)], 0
    for pool in range(num_pools(stop, pool_sequences)):
        size = min(pool_sequences, num_available - first)
        rng = keyed_rng(seed, "sequences", subset, str(pool))
        parts.append(first + _shuffled(rng, size, min(stop - first, size)))
        first += size
    return np.concatenate(parts)


def _shuffled(rng: np.random.Generator, size: int, count: int) -> NDArray[np.int64]:
    """The first `count` of 0..size−1 in random order, a prefix for any `count`."""
    if size <= MOST_PERMUTED:
        return rng.permutation(size)[:count].astype(np.int64)
    drawn, chunk = np.zeros(0, np.int64), CHUNK
    while len(drawn) < count:
        drawn, chunk = np.concatenate([drawn, rng.integers(0, size, chunk)]), 2 * chunk
        drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]  # first occurrences
    return drawn[:count]
