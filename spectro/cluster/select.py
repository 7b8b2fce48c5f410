"""Rounds of seeds, and which of their candidates become clusters (design.md §6.3–4).

The order of the seeds is a keyed permutation of the tokens. A round takes the next `round_size`
untried tokens, tries all of them against the same state of the graph, and only then accepts, so
that who tried which seed cannot matter. Within a round candidates are accepted from the least
conductance upwards, ties by the order of their seeds. A candidate that shares a token with a
cluster accepted earlier in its round saw a graph that is no more: its seed, unless taken, goes
back to the untried and leads the next round.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.cluster.config import ClusterConfig
from spectro.cluster.graph import Graph
from spectro.cluster.local import Candidate, local_rule
from spectro.cluster.workers import SeedMap, serial_map

logger = logging.getLogger(__name__)

SEED_ORDER_KEY = 0x5EED
"""What the random numbers drawn here are for, next to the config's seed."""


@dataclass(kw_only=True)
class SelectionState:
    """All that one round hands to the next; what a resume needs."""

    removed: NDArray[np.uint8]
    """1 where a token belongs to a found cluster (always 0 with overlap)."""
    tried: NDArray[np.uint8]
    """1 where a token has been a seed, or was removed."""
    clusters: list[Candidate]
    """Found so far, in order of acceptance."""
    num_rounds: int = 0
    """Rounds done."""
    num_edges: int = 0
    """Edges visited by all pushes: the cost, counted."""


def find_clusters(
    graph: Graph,
    config: ClusterConfig,
    *,
    map_seeds: SeedMap = serial_map,
    progress: Callable[[int, int], None] | None = None,
) -> SelectionState:
    """Run rounds until fewer than `untried_fraction` of the nodes are untried.

    `progress(tried, N)` is called after every round. The result is a function of the graph and
    the config alone, whatever `map_seeds` is.
    """
    num_nodes = graph.num_nodes
    rule = local_rule(graph, config)
    order = np.random.default_rng((config.seed, SEED_ORDER_KEY)).permutation(num_nodes)
    state = SelectionState(
        removed=np.zeros(num_nodes, np.uint8), tried=np.zeros(num_nodes, np.uint8), clusters=[]
    )
    while True:
        untried = order[state.tried[order] == 0]
        if untried.size <= config.untried_fraction * num_nodes:
            break
        seeds = [int(seed) for seed in untried[: config.round_size]]
        candidates = map_seeds(graph, rule, state.removed, seeds)
        run_round(state, candidates, config)
        if progress is not None:
            progress(int(state.tried.sum()), num_nodes)
    logger.info(
        "%d clusters with %d of %d tokens after %d rounds, %d edges visited",
        len(state.clusters), _num_members(state), num_nodes, state.num_rounds, state.num_edges,
    )  # fmt: skip
    return state


def run_round(state: SelectionState, candidates: list[Candidate], config: ClusterConfig) -> None:
    """Accept one round's candidates into the state; at least one seed is tried for good."""
    num_left = int(state.removed.size - state.removed.sum())
    by_quality = sorted(range(len(candidates)), key=lambda i: (candidates[i].conductance, i))
    for candidate in (candidates[i] for i in by_quality):
        if not _is_cluster(candidate, config, num_left):
            state.tried[candidate.seed] = 1
        elif config.overlap:
            state.tried[candidate.seed] = 1
            state.clusters.append(candidate)
        elif not state.removed[candidate.nodes].any():
            state.tried[candidate.seed] = 1
            state.removed[candidate.nodes] = 1
            state.tried[candidate.nodes] = 1
            state.clusters.append(candidate)
    state.num_rounds += 1
    state.num_edges += sum(candidate.num_edges for candidate in candidates)


def _is_cluster(candidate: Candidate, config: ClusterConfig, num_left: int) -> bool:
    size = candidate.nodes.size
    return config.min_size <= size <= config.max_fraction * num_left


def _num_members(state: SelectionState) -> int:
    members = [cluster.nodes for cluster in state.clusters]
    return int(np.unique(np.concatenate(members)).size) if members else 0
