"""Proposal of one seed: PageRank push, sweep cut, choice of the prefix."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spectro.clustering.config import ClusterConfig, ToleranceKind
from spectro.clustering.graph.weighted_graph import Graph
from spectro.clustering.local.pagerank import push
from spectro.clustering.local.sweep import choose_prefix, order, sweep
from spectro.clustering.local.workspace import REMOVED, LocalArrays, LocalCsr, Workspace, reset

UNLIMITED_PUSHES = 2**62
MAX_REACH_FRACTION = 0.5
"""Largest `reach` as a share of the graph: beyond half, a set's complement is the cluster."""


@dataclass(frozen=True, kw_only=True)
class SeedParameters:
    """Parameters of the push and the sweep, in the graph's units."""

    alpha: float
    """Teleport probability of the lazy walk."""
    epsilon: float
    """ε: push until r(u) < ε · degree(u)."""
    max_pushes: int
    """Largest number of pushes."""
    max_volume: float
    """Largest volume of a proposal."""
    min_size: int
    """Smallest proposal."""
    min_rise: float
    """Factor by which conductance must rise beyond a proposal."""
    max_conductance: float
    """Largest conductance of a proposal; above it no tokens are returned."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A seed's cluster; `tokens` is empty if no prefix qualifies."""

    seed: int
    tokens: NDArray[np.int32]
    """The prefix, by falling p / degree."""
    scores: NDArray[np.float32]
    """p / degree of each token."""
    conductance: float
    """Conductance of the best prefix in the whole graph, also without a proposal."""
    num_edges: int
    """Edges visited by the push."""
    repeatability: float = math.nan
    """Best Jaccard index among clusters from other seeds (`proposal_pool.py`), once known."""


def packed(proposals: Sequence[Proposal]) -> dict[str, NDArray[Any]]:
    """Proposals as a few arrays, for messages and checkpoints: clusters end to end.

    offsets int64 [C+1] into tokens int32 [M] and scores float32 [M]; seeds int32, conductance
    float64, edges int64 [C].
    """
    sizes = [0, *(proposal.tokens.size for proposal in proposals)]
    tokens = [np.empty(0, np.int32), *(proposal.tokens for proposal in proposals)]
    scores = [np.empty(0, np.float32), *(proposal.scores for proposal in proposals)]
    return {
        "offsets": np.cumsum(sizes, dtype=np.int64),
        "tokens": np.concatenate(tokens),
        "scores": np.concatenate(scores),
        "seeds": np.array([proposal.seed for proposal in proposals], np.int32),
        "conductance": np.array([proposal.conductance for proposal in proposals], np.float64),
        "edges": np.array([proposal.num_edges for proposal in proposals], np.int64),
    }


def unpacked(arrays: Mapping[str, NDArray[Any]]) -> list[Proposal]:
    """Inverse of `packed`; KeyError if an array is missing."""
    offsets, tokens, scores = arrays["offsets"].tolist(), arrays["tokens"], arrays["scores"]
    columns = (arrays[name].tolist() for name in ("seeds", "conductance", "edges"))
    return [
        Proposal(
            seed=seed,
            tokens=tokens[low:high].copy(),
            scores=scores[low:high].copy(),
            conductance=conductance,
            num_edges=num_edges,
        )
        for (low, high), seed, conductance, num_edges in zip(
            pairwise(offsets), *columns, strict=True
        )
    ]


def seed_parameters(graph: Graph, config: ClusterConfig) -> SeedParameters:
    """ε and the largest volume from the config and the graph's volume."""
    mean_degree = graph.volume / graph.num_nodes
    if config.tolerance_kind is ToleranceKind.REACH:
        reach = min(config.reach, MAX_REACH_FRACTION * graph.num_nodes)
        epsilon, max_volume = 1.0 / (reach * mean_degree), reach * mean_degree
    else:
        is_volume = config.tolerance_kind is ToleranceKind.VOLUME
        epsilon = config.tolerance / graph.volume if is_volume else config.tolerance
        max_volume = graph.volume
    return SeedParameters(
        alpha=config.alpha,
        epsilon=epsilon,
        max_pushes=UNLIMITED_PUSHES if config.max_pushes is None else config.max_pushes,
        max_volume=max_volume,
        min_size=config.min_size,
        min_rise=config.min_rise,
        max_conductance=config.max_conductance,
    )


def propose_cluster(
    graph: Graph, rule: SeedParameters, seed: int, workspace: Workspace
) -> Proposal:
    """Push from a seed (a token), order the touched nodes, sweep, choose; one compiled call.

    ValueError if the seed was removed.
    """
    node = int(graph.node_N[seed])
    if workspace.local.slot_of[node] == REMOVED:
        raise ValueError(f"seed {seed} was removed: is the executor of another run?")
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
    return Proposal(
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
    """Nodes, scores and conductance of the chosen prefix, and what `push` returns.

    Plain tuples: a named tuple costs 0.1 ms per call to pass to compiled code.
    """
    csr, local = LocalCsr(*csr_arrays), LocalArrays(*local_arrays)
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
    reset(local, num_slots)
    return nodes, scores, best, num_slots, num_edges, True
