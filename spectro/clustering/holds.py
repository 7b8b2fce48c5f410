"""Verdict on every cluster from other seeds and other draws (ADR 068, 069).

Shapes: C clusters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FOUND_AGAIN = 0.5
"""Least Jaccard index of a cluster that counts as found again: more than half of the tokens of both
sets are shared."""
MAX_Q = 0.05
"""Largest q-value (false discovery rate)."""
Float32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class HalvesEvidence:
    """Evidence from clusterings and kNN lists of two disjoint halves of the draws."""

    stability_C: Float32
    """Lesser best Jaccard index among the clusters of the halves."""
    shared_neighbours_C: Float32
    """Share of its members' neighbours in the lists of both halves."""
    q_value_C: Float32
    """q-value of the test within equal y (`significance.py`)."""
    shared_of_all: float
    """Shared neighbours over all tokens."""
    shared_by_chance: float
    """The same for independent lists."""


def holds(repeatability_C: Float32, halves: HalvesEvidence | None) -> NDArray[np.bool_] | None:
    """True for clusters found again from other seeds and by other draws; None if unknown.

    Other seeds (with overlap): repeatability ≥ FOUND_AGAIN. Other draws (with halves): stability ≥
    FOUND_AGAIN, or q ≤ MAX_Q.
    """
    by_seeds = repeatability_C >= FOUND_AGAIN
    known = bool(np.isfinite(repeatability_C).all()) and repeatability_C.size > 0
    if halves is None:
        return by_seeds if known else None
    by_draws = (halves.stability_C >= FOUND_AGAIN) | (halves.q_value_C <= MAX_Q)
    return by_seeds & by_draws if known else by_draws
