"""Overlapping clusters from the proposals of all seeds, whatever the order of the seeds (ADR 068).

With `overlap` nothing is removed, so what a seed proposes depends on the graph and on that seed
alone. Every seed is tried; of proposals that are as like each other as `same_jaccard` says, the one
of least conductance is the cluster. Another order of the seeds finds the same clusters.

How repeatable a cluster is follows from the same proposals: the seeds are cut into two random
halves, and a cluster that was found from a seed of one half is looked for among the clusters that
the seeds of the other half give. Shapes: N tokens, C clusters.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.config import ClusterConfig
from spectro.clustering.local.owners import Owners
from spectro.clustering.local.round_state import SelectionState
from spectro.clustering.local.seed_cluster import Candidate
from spectro.clustering.matching import best_jaccard

NEAR_COPY = 0.9
"""A proposal whose Jaccard index with a better one of the same half of the seeds is this or more is
not kept: that bounds memory, and moves no cluster by more than a tenth of its tokens."""
HALF_KEY = 0x5A1F
"""What the random numbers drawn here are for, next to the config's seed."""


class Proposals:
    """Which proposals of a running selection are worth keeping."""

    def __init__(self, state: SelectionState, config: ClusterConfig) -> None:
        self._state = state
        self._half_N = halves_of_seeds(state.num_tokens, config.seed)
        self._threshold = max(NEAR_COPY, config.same_jaccard)
        self._owners = (Owners(state.num_tokens), Owners(state.num_tokens))
        for known in state.clusters:
            self._of(known).add(known.tokens, known.conductance)

    def offer(self, candidate: Candidate) -> None:
        """Keep it, unless it is a near copy of a better one; then it is only counted."""
        owners = self._of(candidate)
        if owners.best_jaccard(candidate.tokens, candidate.conductance) >= self._threshold:
            self._state.num_duplicates += 1
        else:
            owners.add(candidate.tokens, candidate.conductance)
            self._state.clusters.append(candidate)

    def settle(self, same_jaccard: float) -> None:
        """Leave the clusters in the state, in place of what was proposed."""
        proposed = self._state.clusters
        found = distinct(proposed, self._state.num_tokens, same_jaccard)
        self._state.num_duplicates += len(proposed) - len(found)
        self._state.clusters = with_repeatability(found, proposed, self._half_N, same_jaccard)

    def _of(self, candidate: Candidate) -> Owners:
        return self._owners[self._half_N[candidate.seed]]


def halves_of_seeds(num_tokens: int, seed: int) -> NDArray[np.int8]:
    """0 or 1 for every token as a seed, by a keyed coin."""
    return np.random.default_rng((seed, HALF_KEY)).integers(2, size=num_tokens, dtype=np.int8)


def distinct(
    proposed: Sequence[Candidate], num_tokens: int, same_jaccard: float
) -> list[Candidate]:
    """From the least conductance upwards, each that is like none before it; ties by the seed."""
    owners, found = Owners(num_tokens), []
    for candidate in sorted(proposed, key=lambda c: (c.conductance, c.seed)):
        if owners.best_jaccard(candidate.tokens) < same_jaccard:
            owners.add(candidate.tokens)
            found.append(candidate)
    return found


def with_repeatability(
    found: Sequence[Candidate],
    proposed: Sequence[Candidate],
    half_N: NDArray[np.int8],
    same_jaccard: float,
) -> list[Candidate]:
    """The same clusters with their best Jaccard index among those of the other half's seeds."""
    result = list(found)
    for half in (0, 1):
        own = [place for place, cluster in enumerate(found) if half_N[cluster.seed] == half]
        others = [candidate for candidate in proposed if half_N[candidate.seed] != half]
        other = [c.tokens for c in distinct(others, half_N.size, same_jaccard)]
        best = best_jaccard([found[place].tokens for place in own], other, half_N.size)
        for place, jaccard in zip(own, best.tolist(), strict=True):
            result[place] = replace(found[place], repeatability=jaccard)
    return result
