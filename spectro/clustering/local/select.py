"""Rounds of seeds, and which of their candidates become clusters (design.md §6.3–4).

The order of the seeds is a keyed permutation of the tokens. A round takes the next `round_size`
untried tokens, tries all of them against the same state of the graph, and only then accepts, so
that who tried which seed cannot matter. Within a round candidates are accepted from the least
conductance upwards, ties by the order of their seeds. A candidate that shares a token with a
cluster accepted earlier in its round saw a graph that is no more: its seed, unless taken, goes
back to the untried and leads the next round (ADR 022, 026).

With `overlap` nothing is removed and every seed is tried; clusters are chosen among all proposals
when the last round is done (`proposals.py`), so the order of the seeds does not matter.
"""

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.config import ClusterConfig
from spectro.clustering.graph.graph import Graph
from spectro.clustering.local.proposals import Proposals
from spectro.clustering.local.round_state import SelectionState
from spectro.clustering.local.seed_cluster import Candidate, local_rule
from spectro.clustering.local.seed_executor import CrewOf, serial_executor

logger = logging.getLogger(__name__)

SEED_ORDER_KEY = 0x5EED
"""What the random numbers drawn here are for, next to the config's seed."""


def find_clusters(
    graph: Graph,
    config: ClusterConfig,
    crew_of: CrewOf = serial_executor,
    state: SelectionState | None = None,
    on_round: Callable[[SelectionState], None] | None = None,
) -> SelectionState:
    """Run rounds until fewer than `untried_fraction` of the tokens are untried.

    `state` continues where an earlier call was stopped after any round, and is changed in place.
    `on_round(state)` is called after every round, for progress and checkpoints. The result is a
    function of the graph and the config alone, whatever the crew and wherever it was resumed.
    ValueError when the state is of another number of tokens.
    """
    num_tokens = graph.num_nodes
    state = SelectionState.start(num_tokens) if state is None else state
    if state.num_tokens != num_tokens:
        raise ValueError(
            f"the graph has {num_tokens} tokens, the state of its rounds {state.num_tokens}: "
            "is the checkpoint of another run?"
        )
    crew = crew_of(graph, local_rule(graph, config), state.removed)
    seeds = _SeedOrder(state, config)
    proposals = Proposals(state, config) if config.overlap else None
    while num_tokens - state.num_tried > config.untried_fraction * num_tokens:
        num_tried = state.num_tried
        taken = run_round(state, crew.try_seeds(seeds.next_round()), config, proposals)
        if state.num_tried == num_tried:
            raise RuntimeError("a round has tried nothing: was the crew told what is removed?")
        if taken.size:
            crew.remove(taken)
        if on_round is not None:
            on_round(state)
    if proposals is not None:
        proposals.settle(config.same_jaccard)
    logger.info(
        "%d clusters with %d of %d tokens after %d rounds, %d edges visited",
        len(state.clusters), state.num_members(), num_tokens, state.num_rounds, state.num_edges,
    )  # fmt: skip
    return state


def round_size(config: ClusterConfig, num_tokens: int) -> int:
    """Seeds per round: the config's, or 1/2000 of the tokens and at least 256 (ADR 026)."""
    return max(256, num_tokens // 2000) if config.round_size is None else config.round_size


class _SeedOrder:
    """The untried tokens in the keyed order; a round costs what it takes, not a pass over N."""

    def __init__(self, state: SelectionState, config: ClusterConfig) -> None:
        order = np.random.default_rng((config.seed, SEED_ORDER_KEY)).permutation(state.num_tokens)
        self._tried = state.tried
        self._left = order[state.tried[order] == 0]
        self._cursor = 0
        self._round: list[int] = []
        self._round_size = round_size(config, state.num_tokens)

    def next_round(self) -> list[int]:
        """Seeds of the last round that are untried still, then the next untried ones."""
        seeds = [seed for seed in self._round if not self._tried[seed]]
        while len(seeds) < self._round_size and self._cursor < self._left.size:
            end = self._cursor + self._round_size - len(seeds)
            block = self._left[self._cursor : end]
            seeds.extend(block[self._tried[block] == 0].tolist())
            self._cursor = end
        self._round = seeds
        return seeds


def run_round(
    state: SelectionState,
    candidates: list[Candidate],
    config: ClusterConfig,
    proposals: Proposals | None = None,
) -> NDArray[np.int32]:
    """Accept one round's candidates into the state; at least one seed is tried for good.

    With `proposals` every candidate is offered to them and no token is removed. Returns the tokens
    removed in this round.
    """
    num_left = state.num_tokens - state.num_removed
    taken = [np.empty(0, np.int32)]
    by_quality = sorted(range(len(candidates)), key=lambda i: (candidates[i].conductance, i))
    for candidate in (candidates[i] for i in by_quality):
        if not _is_cluster(candidate, config, num_left):
            state.mark_tried(candidate.seed)
        elif proposals is not None:
            state.mark_tried(candidate.seed)
            proposals.offer(candidate)
        elif not state.removed[candidate.tokens].any():
            state.mark_tried(candidate.seed)
            state.remove(candidate.tokens)
            state.clusters.append(candidate)
            taken.append(candidate.tokens)
    state.num_rounds += 1
    state.num_edges += sum(candidate.num_edges for candidate in candidates)
    return np.concatenate(taken)


def _is_cluster(candidate: Candidate, config: ClusterConfig, num_left: int) -> bool:
    size = candidate.tokens.size
    return config.min_size <= size <= config.max_fraction * num_left
