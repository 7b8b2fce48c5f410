"""One seed: push, sweep, and the candidate cluster it proposes."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spectro.clustering.config import ClusterConfig, ToleranceKind
from spectro.clustering.graph.graph import Graph
from spectro.clustering.local.pagerank import push
from spectro.clustering.local.sweep import choose_prefix, order, sweep
from spectro.clustering.local.workspace import REMOVED, Local, LocalCsr, Workspace, forget

UNLIMITED_PUSHES = 2**62
MAX_REACH_FRACTION = 0.5
"""`reach` is at most this share of the graph: beyond half, a set is its complement's cluster."""


@dataclass(frozen=True, kw_only=True)
class LocalRule:
    """What a worker must know to try a seed, in the graph's own units."""

    alpha: float
    """Teleport probability of the lazy walk."""
    epsilon: float
    """Push until r(u) < epsilon · degree(u)."""
    max_pushes: int
    """Or until this many pushes."""
    max_volume: float
    """Largest volume of a candidate."""
    min_size: int
    """Smallest prefix that is a candidate."""
    min_rise: float
    """How much conductance must rise beyond a candidate."""
    max_conductance: float
    """A prefix above this is no candidate, and its nodes are not returned."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What one seed found; `tokens` is empty when the sweep saw nothing below the threshold."""

    seed: int
    """The token the mass started from."""
    tokens: NDArray[np.int32]
    """The prefix, by falling p / degree."""
    scores: NDArray[np.float32]
    """p / degree of each token."""
    conductance: float
    """Conductance of the best prefix in the whole graph, also when it is no candidate."""
    num_edges: int
    """Edges visited by the push."""
    repeatability: float = math.nan
    """Best Jaccard index among clusters from other seeds (`proposals.py`), once it is known."""


def local_rule(graph: Graph, config: ClusterConfig) -> LocalRule:
    """The tolerance ε and the largest volume, from the config and the graph's volume."""
    mean_degree = graph.volume / graph.num_nodes
    if config.tolerance_kind is ToleranceKind.REACH:
        reach = min(config.reach, MAX_REACH_FRACTION * graph.num_nodes)
        epsilon, max_volume = 1.0 / (reach * mean_degree), reach * mean_degree
    else:
        is_volume = config.tolerance_kind is ToleranceKind.VOLUME
        epsilon = config.tolerance / graph.volume if is_volume else config.tolerance
        max_volume = graph.volume
    return LocalRule(
        alpha=config.alpha,
        epsilon=epsilon,
        max_pushes=UNLIMITED_PUSHES if config.max_pushes is None else config.max_pushes,
        max_volume=max_volume,
        min_size=config.min_size,
        min_rise=config.min_rise,
        max_conductance=config.max_conductance,
    )


def try_seed(graph: Graph, rule: LocalRule, seed: int, workspace: Workspace) -> Candidate:
    """Push from the seed, order what it touched, sweep, choose; one compiled call.

    `seed` is a token, and so are what the candidate names. ValueError when it was removed.
    """
    node = int(graph.node_N[seed])
    if workspace.local.slot_of[node] == REMOVED:
        raise ValueError(f"seed {seed} is in a cluster already: was the crew told of another run?")
    csr = (graph.indptr, graph.indices, graph.weights, graph.degrees)
    limits = (rule.alpha, rule.epsilon, rule.max_pushes, rule.max_volume)
    bounds = (rule.min_size, rule.min_rise, rule.max_conductance)
    while True:
        nodes, scores, conductance, num_slots, num_edges, complete = _propose(
            csr, tuple(workspace.local), node, graph.volume, limits, bounds
        )
        if complete:
            break
        workspace.grow(num_slots, num_edges)
    return Candidate(
        seed=seed,
        tokens=graph.token_N[nodes],
        scores=scores,
        conductance=conductance,
        num_edges=num_edges,
    )


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _propose(
    csr_arrays: tuple[NDArray[Any], ...],
    local_arrays: tuple[NDArray[Any], ...],
    seed: int,
    total_volume: float,
    limits: tuple[float, float, int, float],
    bounds: tuple[int, float, float],
) -> tuple[NDArray[np.int32], NDArray[np.float32], float, int, int, bool]:
    """Nodes and scores of the chosen prefix, its conductance, and what `push` returns.

    The arrays come as plain tuples: a named one costs 0.1 ms to hand over, plain ones a hundredth.
    """
    csr, local = LocalCsr(*csr_arrays), Local(*local_arrays)
    alpha, epsilon, max_pushes, bound = limits
    min_size, min_rise, max_conductance = bounds
    num_slots, _, num_edges, complete = push(csr, local, seed, alpha, epsilon, max_pushes)
    if not complete:
        return np.empty(0, np.int32), np.empty(0, np.float32), 1.0, num_slots, num_edges, False
    ordered, max_volume, swept = order(csr, local, num_slots, epsilon, bound)
    conductance, volumes = sweep(csr, local, num_slots, ordered, total_volume, swept)
    size = choose_prefix(conductance, volumes, total_volume, min_size, max_volume, min_rise)
    best = conductance[size - 1] if size > 0 else 1.0
    if best > max_conductance:
        size = 0
    nodes, scores = np.empty(size, np.int32), np.empty(size, np.float32)
    for position in range(size):
        nodes[position] = local.node[ordered[position]]
        scores[position] = local.score[ordered[position]]
    forget(local, num_slots)
    return nodes, scores, best, num_slots, num_edges, True
