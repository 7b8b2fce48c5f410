"""Executors that propose clusters for seeds: threads of one process (distributed: cluster_stage).

An executor receives the removed tokens once and then only further removals. Rounds of seeds are
submitted, and their proposals fetched when they are needed, so that workers need not wait for the
caller.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.graph.weighted_graph import Graph
from spectro.clustering.local.seed_proposal import Proposal, SeedParameters, propose_cluster
from spectro.clustering.local.workspace import Workspace

Proposals = Callable[[], list[Proposal]]
"""Waits for the proposals of some seeds, in the order of the seeds."""


@dataclass(frozen=True, kw_only=True)
class TriedSeeds:
    """What some seeds gave and took."""

    proposals: list[Proposal]
    """In the order of the seeds."""
    thread_seconds: float
    """Sum over the threads that tried them."""


class SeedExecutor(Protocol):
    """Proposes clusters of seeds; results do not depend on the kind of executor."""

    @property
    def num_ahead(self) -> int:
        """Seeds that keep all workers busy while the caller is at work."""
        ...

    def submit(self, seeds: Sequence[int]) -> Proposals:
        """Begin some seeds, on the graph without the tokens removed so far."""
        ...

    def remove(self, tokens: NDArray[np.int32]) -> None:
        """Remove tokens of found clusters, while no seeds are being tried; idempotent."""
        ...


SeedExecutorFactory = Callable[[Graph, SeedParameters, NDArray[np.uint8]], SeedExecutor]
"""Makes an executor; `removed` is 1 for tokens removed already, uint8 [N], read once."""


class ThreadSeedExecutor:
    """Threads that take the next seed when free; compiled code releases the GIL.

    Memory: one `Workspace` per thread.
    """

    num_ahead = 0

    def __init__(
        self, graph: Graph, rule: SeedParameters, removed: NDArray[np.uint8], num_threads: int = 1
    ) -> None:
        _check_threads(num_threads)
        self._graph, self._rule = graph, rule
        self._workspaces = [Workspace(removed[graph.token_N]) for _ in range(num_threads)]
        self._free = deque(self._workspaces)
        self._pool = ThreadPoolExecutor(num_threads)

    def submit(self, seeds: Sequence[int]) -> Proposals:
        """As `SeedExecutor`; seeds that were submitted first are tried first."""
        tried = self.submit_timed(seeds, lambda: 0.0)
        return lambda: tried().proposals

    def submit_timed(
        self, seeds: Sequence[int], clock: Callable[[], float]
    ) -> Callable[[], TriedSeeds]:
        """The same with the time that it took by a clock."""
        found: list[Proposal | None] = [None] * len(seeds)
        positions = iter(range(len(seeds)))  # one iterator: each position goes to one thread

        def work() -> float:
            workspace, start = self._free.popleft(), clock()  # as many as threads
            try:
                for position in positions:
                    found[position] = propose_cluster(
                        self._graph, self._rule, seeds[position], workspace
                    )
            finally:
                self._free.append(workspace)
            return clock() - start

        tasks = [self._pool.submit(work) for _ in self._workspaces]

        def tried() -> TriedSeeds:
            seconds = sum(task.result() for task in tasks)
            proposals = [candidate for candidate in found if candidate is not None]
            return TriedSeeds(proposals=proposals, thread_seconds=seconds)

        return tried

    def remove(self, tokens: NDArray[np.int32]) -> None:
        """As `SeedExecutor`."""
        for workspace in self._workspaces:
            workspace.remove(self._graph.node_N[tokens])

    def close(self) -> None:
        """End the threads; seeds that wait are not tried."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def serial_executor(graph: Graph, rule: SeedParameters, removed: NDArray[np.uint8]) -> SeedExecutor:
    return ThreadSeedExecutor(graph, rule, removed)


def thread_executor(num_threads: int) -> SeedExecutorFactory:
    """Factory of executors with this many threads; ValueError below one."""
    _check_threads(num_threads)

    return partial(ThreadSeedExecutor, num_threads=num_threads)


def _check_threads(num_threads: int) -> None:
    if num_threads < 1:
        raise ValueError(f"num_threads must be at least 1, found {num_threads}")
