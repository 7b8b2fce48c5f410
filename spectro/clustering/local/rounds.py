"""Rounds of seeds, and acceptance of their proposals as clusters.

The order of the seeds is a keyed permutation of the tokens. A round takes the next `round_size`
untried tokens, proposes against the same state of the graph, and then accepts by rising
conductance, ties by seed order, so that the executor cannot matter. A proposal that shares a token
with a cluster accepted earlier in its round is obsolete: its seed, unless removed, leads the next
round (ADR 022, 026).

With `overlap` nothing is removed and every seed is tried; clusters are chosen among all proposals
at the end (`proposal_pool.py`), independent of the order of the seeds.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.config import ClusterConfig
from spectro.clustering.graph.weighted_graph import Graph
from spectro.clustering.local.proposal_pool import ProposalPool
from spectro.clustering.local.round_state import SelectionState
from spectro.clustering.local.seed_executor import (
    Proposals,
    SeedExecutor,
    SeedExecutorFactory,
    serial_executor,
)
from spectro.clustering.local.seed_proposal import Proposal, seed_parameters

logger = logging.getLogger(__name__)

SEED_ORDER_KEY = 0x5EED
"""Stream of random numbers, next to the seed."""


def find_clusters(
    graph: Graph,
    config: ClusterConfig,
    make_executor: SeedExecutorFactory = serial_executor,
    state: SelectionState | None = None,
    on_round: Callable[[SelectionState], None] | None = None,
) -> SelectionState:
    """Run rounds until fewer than `untried_fraction` of the tokens are untried.

    `state` resumes an earlier call and is changed in place; `on_round(state)` follows every round,
    for progress and checkpoints. The result depends on graph and config alone. ValueError if the
    state is of another number of tokens.
    """
    num_tokens = graph.num_nodes
    state = SelectionState.start(num_tokens) if state is None else state
    if state.num_tokens != num_tokens:
        raise ValueError(
            f"the graph has {num_tokens} tokens, the state of its rounds {state.num_tokens}: "
            "is the checkpoint of another run?"
        )
    executor = make_executor(graph, seed_parameters(graph, config), state.removed)
    proposals = ProposalPool(state, config) if config.overlap else None
    for candidates in proposed_rounds(SeedOrder(state, config), executor, config):
        num_tried = state.num_tried
        taken = run_round(state, candidates, config, proposals)
        if state.num_tried == num_tried:
            raise RuntimeError(
                "a round has tried no seed: was the executor not given the removals?"
            )
        if taken.size:
            executor.remove(taken)
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


def proposed_rounds(
    seeds: "SeedOrder", executor: SeedExecutor, config: ClusterConfig
) -> Iterator[list[Proposal]]:
    """Proposals, round by round; the caller marks the seeds of each before it takes the next.

    With `overlap` no round changes the graph, so rounds are submitted ahead of the caller.
    """
    ahead: deque[tuple[int, Proposals]] = deque()
    num_ahead = 0
    while True:
        while seeds.are_left(num_ahead) and (
            not ahead or (config.overlap and num_ahead < executor.num_ahead)
        ):
            seeds_of_round = seeds.next_round(ahead=num_ahead > 0)
            ahead.append((len(seeds_of_round), executor.submit(seeds_of_round)))
            num_ahead += len(seeds_of_round)
        if not ahead:
            return
        num_seeds, proposals = ahead.popleft()
        num_ahead -= num_seeds
        yield proposals()


class SeedOrder:
    """Untried tokens in keyed order; a round does not pass over all N."""

    def __init__(self, state: SelectionState, config: ClusterConfig) -> None:
        order = np.random.default_rng((config.seed, SEED_ORDER_KEY)).permutation(state.num_tokens)
        self._state, self._tried = state, state.tried
        self._left = order[state.tried[order] == 0]
        self._cursor = 0
        self._round: list[int] = []
        self._round_size = round_size(config, state.num_tokens)
        self._num_untried = config.untried_fraction * state.num_tokens

    def are_left(self, num_ahead: int) -> bool:
        """Whether there is another round after so many seeds that are being tried."""
        return self._state.num_tokens - self._state.num_tried - num_ahead > self._num_untried

    def next_round(self, *, ahead: bool = False) -> list[int]:
        """Untried seeds of the last round, unless rounds run ahead; then the next untried ones."""
        seeds = [] if ahead else [seed for seed in self._round if not self._tried[seed]]
        while len(seeds) < self._round_size and self._cursor < self._left.size:
            end = self._cursor + self._round_size - len(seeds)
            block = self._left[self._cursor : end]
            seeds.extend(block[self._tried[block] == 0].tolist())
            self._cursor = end
        self._round = seeds
        return seeds


def run_round(
    state: SelectionState,
    candidates: list[Proposal],
    config: ClusterConfig,
    proposals: ProposalPool | None = None,
) -> NDArray[np.int32]:
    """Accept one round's proposals into the state; at least one seed becomes tried.

    With `proposals` all are offered to that pool and no token is removed. Returns the removed
    tokens.
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


def _is_cluster(candidate: Proposal, config: ClusterConfig, num_left: int) -> bool:
    size = candidate.tokens.size
    return config.min_size <= size <= config.max_fraction * num_left
