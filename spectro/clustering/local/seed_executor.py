"""Who tries the seeds of a round: one thread, several, or a cluster (elsewhere).

A crew is told once what had been removed and then, round by round, what else is: never the whole
state again.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.graph.graph import Graph
from spectro.clustering.local.seed_cluster import Candidate, LocalRule, try_seed
from spectro.clustering.local.workspace import Workspace


class SeedExecutor(Protocol):
    """Tries seeds against its state of the graph; the same candidates whoever is in the crew."""

    def try_seeds(self, seeds: Sequence[int]) -> list[Candidate]:
        """One candidate per seed, in the order of the seeds."""
        ...

    def remove(self, tokens: NDArray[np.int32]) -> None:
        """From now on these tokens belong to a cluster; each token is removed at most once."""
        ...


CrewOf = Callable[[Graph, LocalRule, NDArray[np.uint8]], SeedExecutor]
"""Makes a crew for a graph and a rule; `removed` is 1 where a token is removed already, uint8 [N],
read once and not kept."""


class ThreadSeedExecutor:
    """Threads that take the next seed when they are free; the compiled part holds no lock.

    Memory: one `Workspace` per thread for the crew's life, nothing that grows with the rounds.
    """

    def __init__(
        self, graph: Graph, rule: LocalRule, removed: NDArray[np.uint8], num_threads: int = 1
    ) -> None:
        _check_threads(num_threads)
        self._graph, self._rule = graph, rule
        self._workspaces = [Workspace(removed[graph.token_N]) for _ in range(num_threads)]

    def try_seeds(self, seeds: Sequence[int]) -> list[Candidate]:
        """As `SeedExecutor`; which thread tries which seed changes nothing."""
        found: list[Candidate | None] = [None] * len(seeds)
        positions = iter(range(len(seeds)))  # one iterator: each position goes to one thread

        def work(workspace: Workspace) -> None:
            for position in positions:
                found[position] = try_seed(self._graph, self._rule, seeds[position], workspace)

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


def serial_executor(graph: Graph, rule: LocalRule, removed: NDArray[np.uint8]) -> SeedExecutor:
    """All seeds in this thread."""
    return ThreadSeedExecutor(graph, rule, removed)


def thread_executor(num_threads: int) -> CrewOf:
    """Crews of this many threads; ValueError below one."""
    _check_threads(num_threads)

    def crew_of(graph: Graph, rule: LocalRule, removed: NDArray[np.uint8]) -> SeedExecutor:
        return ThreadSeedExecutor(graph, rule, removed, num_threads)

    return crew_of


def _check_threads(num_threads: int) -> None:
    if num_threads < 1:
        raise ValueError(f"num_threads must be at least 1, found {num_threads}")
