"""Recall of kNN lists on a sample of tokens (ADR 025).

Shapes: S sampled tokens, k neighbours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.knn.neighbours import Neighbours

RECALL_KEY = 0x4ECA11
"""Stream of random numbers, next to the seed."""


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Share of the true k neighbours found, over a sample of tokens."""

    mean: float
    """Mean over the sample."""
    standard_error: float
    """Of the mean, for independent tokens."""
    worst_tenth: float
    """Mean of the worst tenth of the sample."""
    num_sampled: int
    """S."""


def sample_rows(
    num_tokens: int, num_sampled: int, *, seed: int = 0, use: int = RECALL_KEY
) -> NDArray[np.int64]:
    """Distinct row numbers drawn by key, ascending; all rows if there are no more.

    `use` is the stream of random numbers.
    """
    rng = np.random.default_rng((seed, use))
    drawn = rng.choice(num_tokens, min(num_tokens, num_sampled), replace=False)
    return np.sort(drawn).astype(np.int64)


def measured_recall(sample: NDArray[np.integer], found: Neighbours, exact: Neighbours) -> Recall:
    """Recall of the lists of the sampled rows (in the order of `sample`) against exact ones.

    A neighbour counts if it is no farther than the exact k-th. ValueError if the lists are not of
    these rows.
    """
    shapes = (found.index_Nk.shape, exact.index_Nk.shape)
    if shapes[0] != shapes[1] or shapes[0][0] != sample.size or sample.size == 0:
        raise ValueError(
            f"expected found and exact lists of {sample.size} sampled tokens, at least one, found "
            f"shapes {shapes[0]} and {shapes[1]}: were the lists cut to the sample?"
        )
    recall_S = (found.distance_Nk <= exact.distance_Nk[:, -1:]).mean(axis=1)
    num_worst = max(1, sample.size // 10)
    spread = float(recall_S.std(ddof=1)) if sample.size > 1 else 0.0
    return Recall(
        mean=float(recall_S.mean()),
        standard_error=spread / float(np.sqrt(sample.size)),
        worst_tenth=float(np.sort(recall_S)[:num_worst].mean()),
        num_sampled=int(sample.size),
    )
