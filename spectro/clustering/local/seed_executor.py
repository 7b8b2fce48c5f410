"""Executors that propose clusters for seeds: one thread or several (distributed: cluster_stage).

An executor receives the removed tokens once and then only further removals.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.graph.weighted_graph import Graph
from spectro.clustering.local.seed_proposal import Proposal, SeedParameters, propose_cluster
from spectro.clustering.local.workspace import Workspace


class SeedExecutor(Protocol):
    """Proposes clusters of seeds; results do not depend on the kind of executor."""

    def propose_clusters(self, seeds: Sequence[int]) -> list[Proposal]:
        """One proposal per seed, in the order of the seeds."""
        ...

    def remove(self, tokens: NDArray[np.int32]) -> None:
        """Remove tokens of a found cluster, each at most once."""
        ...


SeedExecutorFactory = Callable[[Graph, SeedParameters, NDArray[np.uint8]], SeedExecutor]
"""Makes an executor; `removed` is 1 for tokens removed already, uint8 [N], read once."""


class ThreadSeedExecutor:
    """Threads that take the next seed when free; compiled code releases the GIL.

    Memory: one `Workspace` per thread.
    """

    def __init__(
        self, graph: Graph, rule: SeedParameters, removed: NDArray[np.uint8], num_threads: int = 1
    ) -> None:
        _check_threads(num_threads)
        self._graph, self._rule = graph, rule
        self._workspaces = [Workspace(removed[graph.token_N]) for _ in range(num_threads)]

    def propose_clusters(self, seeds: Sequence[int]) -> list[Proposal]:
        """As `SeedExecutor`."""
        found: list[Proposal | None] = [None] * len(seeds)
        positions = iter(range(len(seeds)))  # one iterator: each position goes to one thread

        def work(workspace: Workspace) -> None:
            for position in positions:
                found[position] = propose_cluster(
                    self._graph, self._rule, seeds[position], workspace
                )

        if len(self._workspaces) == 1:
            work(self._workspaces[0])
        else:
            with ThreadPoolExecutor(len(self._workspaces)) as pool:
                list(pool.map(work, self._workspaces))
        return [candidate for candidate in found if candidate is not None]

    def remove(self, tokens: NDArray[np.int32]) -> None:
        """As `SeedExecutor`."""
        for workspace in self._workspaces:
            workspace.remove(self._graph.node_N[tokens])


def serial_executor(graph: Graph, rule: SeedParameters, removed: NDArray[np.uint8]) -> SeedExecutor:
    return ThreadSeedExecutor(graph, rule, removed)


def thread_executor(num_threads: int) -> SeedExecutorFactory:
    """Factory of executors with this many threads; ValueError below one."""
    _check_threads(num_threads)

    return partial(ThreadSeedExecutor, num_threads=num_threads)


def _check_threads(num_threads: int) -> None:
    if num_threads < 1:
        raise ValueError(f"num_threads must be at least 1, found {num_threads}")
