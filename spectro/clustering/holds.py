"""Which clusters hold: what is known of every cluster beyond its members (ADR 068, 069).

Shapes: C clusters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FOUND_AGAIN = 0.5
"""Least Jaccard index of a cluster that was found again: more than half of both sets' tokens are
shared, so among disjoint clusters no other can be as like it."""
MAX_Q = 0.05
"""Of the clusters that pass, one in twenty may be no more than its tokens."""
Float32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class HalvesEvidence:
    """What clusterings and neighbour lists of two disjoint halves of the draws say."""

    stability_C: Float32
    """The lesser best Jaccard index among the clusters of the halves."""
    shared_neighbours_C: Float32
    """Share of its members' neighbours that the lists of both halves have."""
    q_value_C: Float32
    """That it is no more than its y; adjusted for the number of clusters (`significance.py`)."""
    shared_of_all: float
    """Share of neighbours in common over all tokens, clustered or not."""
    shared_by_chance: float
    """Of lists that have nothing to do with each other."""


def holds(repeatability_C: Float32, halves: HalvesEvidence | None) -> NDArray[np.bool_] | None:
    """True where other seeds find the cluster again, and other draws know it; None: not known.

    Other seeds (where clusters overlap): repeatability ≥ FOUND_AGAIN. Other draws (where halves
    were clustered): stability ≥ FOUND_AGAIN, or q ≤ MAX_Q.
    """
    by_seeds = repeatability_C >= FOUND_AGAIN
    known = bool(np.isfinite(repeatability_C).all()) and repeatability_C.size > 0
    if halves is None:
        return by_seeds if known else None
    by_draws = (halves.stability_C >= FOUND_AGAIN) | (halves.q_value_C <= MAX_Q)
    return by_seeds & by_draws if known else by_draws
