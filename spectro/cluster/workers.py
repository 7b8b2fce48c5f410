"""Who tries the seeds of a round: one thread, several, or a cluster (elsewhere)."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spectro.cluster.graph import Graph
from spectro.cluster.local import Candidate, LocalRule, try_seed
from spectro.cluster.pagerank import Workspace


class SeedMap(Protocol):
    """Tries every seed against one state of the graph; candidates in the order of the seeds."""

    def __call__(
        self, graph: Graph, rule: LocalRule, removed: NDArray[np.uint8], seeds: Sequence[int]
    ) -> list[Candidate]:
        """`removed` is 1 where a node belongs to a cluster already found, uint8 [N]."""
        ...


def serial_map(
    graph: Graph, rule: LocalRule, removed: NDArray[np.uint8], seeds: Sequence[int]
) -> list[Candidate]:
    """All seeds in this thread."""
    workspace = Workspace(graph.num_nodes)
    return [try_seed(graph, rule, removed, seed, workspace) for seed in seeds]


class ThreadMap:
    """Seeds dealt to threads; the compiled parts hold no lock, one workspace per thread."""

    def __init__(self, num_threads: int) -> None:
        if num_threads < 1:
            raise ValueError(f"num_threads must be at least 1, found {num_threads}")
        self.num_threads = num_threads

    def __call__(
        self, graph: Graph, rule: LocalRule, removed: NDArray[np.uint8], seeds: Sequence[int]
    ) -> list[Candidate]:
        """As `SeedMap`; the same candidates as `serial_map`."""
        shares = [seeds[start :: self.num_threads] for start in range(self.num_threads)]
        with ThreadPoolExecutor(self.num_threads) as pool:
            parts = list(pool.map(lambda share: serial_map(graph, rule, removed, share), shares))
        return [
            parts[position % self.num_threads][position // self.num_threads]
            for position in range(len(seeds))
        ]
