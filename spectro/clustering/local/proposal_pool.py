"""Overlapping clusters from the proposals of all seeds, independent of their order (ADR 068).

With `overlap` no token is removed, so a proposal depends on the graph and its seed alone. Among
proposals with a Jaccard index of `same_jaccard` or more, the least conductance wins.

Repeatability: the seeds are split at random into two halves, and a cluster found from a seed of one
half is matched with the clusters that the other half's seeds give. Shapes: N tokens, C clusters.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.config import ClusterConfig
from spectro.clustering.local.membership_index import MembershipIndex
from spectro.clustering.local.round_state import SelectionState
from spectro.clustering.local.seed_proposal import Proposal
from spectro.clustering.matching import best_jaccard

NEAR_COPY = 0.9
"""A proposal this similar to a better one of the same half of the seeds is not kept: bounds
memory."""
HALF_KEY = 0x5A1F
"""Stream of random numbers, next to the seed."""


class ProposalPool:
    """Proposals worth keeping while seeds run, and the final choice among them."""

    def __init__(self, state: SelectionState, config: ClusterConfig) -> None:
        self._state = state
        self._half_N = halves_of_seeds(state.num_tokens, config.seed)
        self._threshold = max(NEAR_COPY, config.same_jaccard)
        self._owners = (MembershipIndex(state.num_tokens), MembershipIndex(state.num_tokens))
        for known in state.clusters:
            self._of(known).add(known.tokens, known.conductance)

    def offer(self, candidate: Proposal) -> None:
        """Keep a proposal; a near copy of a better one is only counted."""
        owners = self._of(candidate)
        if owners.best_jaccard(candidate.tokens, candidate.conductance) >= self._threshold:
            self._state.num_duplicates += 1
        else:
            owners.add(candidate.tokens, candidate.conductance)
            self._state.clusters.append(candidate)

    def settle(self, same_jaccard: float) -> None:
        """Replace the proposals in the state by the chosen clusters."""
        proposed = self._state.clusters
        found = distinct(proposed, self._state.num_tokens, same_jaccard)
        self._state.num_duplicates += len(proposed) - len(found)
        self._state.clusters = with_repeatability(found, proposed, self._half_N, same_jaccard)

    def _of(self, candidate: Proposal) -> MembershipIndex:
        return self._owners[self._half_N[candidate.seed]]


def halves_of_seeds(num_tokens: int, seed: int) -> NDArray[np.int8]:
    """Half (0 or 1) of every seed, by a keyed coin."""
    return np.random.default_rng((seed, HALF_KEY)).integers(2, size=num_tokens, dtype=np.int8)


def distinct(proposed: Sequence[Proposal], num_tokens: int, same_jaccard: float) -> list[Proposal]:
    """By rising conductance (ties by seed), each proposal unlike all before it."""
    owners, found = MembershipIndex(num_tokens), []
    for candidate in sorted(proposed, key=lambda c: (c.conductance, c.seed)):
        if owners.best_jaccard(candidate.tokens) < same_jaccard:
            owners.add(candidate.tokens)
            found.append(candidate)
    return found


def with_repeatability(
    found: Sequence[Proposal],
    proposed: Sequence[Proposal],
    half_N: NDArray[np.int8],
    same_jaccard: float,
) -> list[Proposal]:
    """Clusters with their best Jaccard index among those of the other half's seeds."""
    result = list(found)
    for half in (0, 1):
        own = [place for place, cluster in enumerate(found) if half_N[cluster.seed] == half]
        others = [candidate for candidate in proposed if half_N[candidate.seed] != half]
        other = [c.tokens for c in distinct(others, half_N.size, same_jaccard)]
        best = best_jaccard([found[place].tokens for place in own], other, half_N.size)
        for place, jaccard in zip(own, best.tolist(), strict=True):
            result[place] = replace(found[place], repeatability=jaccard)
    return result
