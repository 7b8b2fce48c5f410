"""How many of the true neighbours a search found, on a sample (design.md §6.2, ADR 025).

Shapes: S sampled tokens, k neighbours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.knn.neighbours import Neighbours

RECALL_KEY = 0x4ECA11
"""What the random numbers drawn here are for, next to the config's seed."""


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Share of the true k neighbours that were found, over a sample of tokens."""

    mean: float
    """Mean over the sample."""
    standard_error: float
    """Of the mean, tokens taken as independent."""
    worst_tenth: float
    """Mean of the tenth of the sample with the least: where a search is blind, it is here."""
    num_sampled: int
    """S."""


def sample_rows(
    num_tokens: int, num_sampled: int, *, seed: int = 0, use: int = RECALL_KEY
) -> NDArray[np.int64]:
    """Row numbers drawn by key without repeats, ascending; all rows if there are no more.

    `use` keeps samples for different uses apart.
    """
    rng = np.random.default_rng((seed, use))
    drawn = rng.choice(num_tokens, min(num_tokens, num_sampled), replace=False)
    return np.sort(drawn).astype(np.int64)


def measured_recall(sample: NDArray[np.integer], found: Neighbours, exact: Neighbours) -> Recall:
    """Compare the found lists of the sampled rows (in the order of `sample`) with exact ones.

    A found neighbour counts when it is no farther than the exact k-th: among ties at that
    distance any choice is right. ValueError when the lists are not of these rows.
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
