"""Workers that propose clusters for seeds: threads of this process, and Ray actors.

A worker has `QUEUED` chunks of seeds, so that it need not wait for the next one, and receives only
the tokens removed since the last chunk that it has answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import ray

from spectro.cluster_stage.units import ClusterUnit
from spectro.cluster_stage.vectors import ListsOnNode
from spectro.clustering.config import ClusterConfig
from spectro.clustering.graph.weighted_graph import Graph
from spectro.clustering.local.seed_executor import ThreadSeedExecutor, TriedSeeds
from spectro.clustering.local.seed_proposal import SeedParameters, packed, seed_parameters, unpacked
from spectro.storage.store import Store
from spectro.work.threads import use_threads

Tokens = npt.NDArray[np.int32]
QUEUED = 2
"""Chunks that a worker has at once: while it is at one, the next is on its way."""


class SeedWorker(Protocol):
    """Proposes clusters for chunks of seeds."""

    num_threads: int
    """How many seeds it tries at once."""

    def start(self, seeds: Sequence[int]) -> Future[TriedSeeds]:
        """Begin a chunk, on the graph without the tokens removed so far."""
        ...

    def remove(self, tokens: Tokens) -> None:
        """Remove tokens before the next chunk, while there is none."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


class ThreadSeedWorker:
    """`SeedWorker` in threads of this process."""

    def __init__(
        self,
        graph: Graph,
        rule: SeedParameters,
        removed: npt.NDArray[np.uint8],
        num_threads: int = 1,
    ) -> None:
        self.num_threads = num_threads
        self._executor = ThreadSeedExecutor(graph, rule, removed, num_threads)
        self._waiting = ThreadPoolExecutor(QUEUED)
        self.remove = self._executor.remove

    def start(self, seeds: Sequence[int]) -> Future[TriedSeeds]:
        """As `SeedWorker`."""
        return self._waiting.submit(self._executor.submit_timed(seeds, time.perf_counter))

    def close(self) -> None:
        """As `SeedWorker`."""
        self._executor.close()
        self._waiting.shutdown(wait=False, cancel_futures=True)


class SeedProcess:
    """Ray actor that proposes clusters; maps the graph from its node's cache.

    `removed` are tokens that belong to clusters already.
    """

    def __init__(
        self,
        uri: str,
        unit: ClusterUnit,
        config: ClusterConfig,
        scratch: str | None,
        removed: Tokens,
        num_threads: int = 1,
    ) -> None:
        use_threads(num_threads)
        with ListsOnNode(Store(uri), unit.key, unit.half, unit.layout, scratch) as lists:
            graph = lists.graph()  # stays mapped if another process removes its files
        state = np.zeros(graph.num_nodes, np.uint8)
        state[removed] = 1
        rule = seed_parameters(graph, config)
        self._executor = ThreadSeedExecutor(graph, rule, state, num_threads)
        self._num_removals = 0
        self._lock = threading.Lock()

    def ready(self) -> bool:
        """Returns once the graph is mapped."""
        return True

    def propose_clusters(
        self, num_removals: int, removed: Tokens, seeds: Sequence[int]
    ) -> tuple[dict[str, npt.NDArray[Any]], float]:
        """Packed proposals of some seeds and the thread's seconds, after so many removals.

        `removed` are the last of these.

        Ray may run two calls in any order: whichever is first brings what is missing.
        """
        with self._lock:
            if num_removals > self._num_removals:
                self._executor.remove(removed)
                self._num_removals = num_removals
            trying = self._executor.submit_timed(seeds, time.perf_counter)
        tried = trying()
        return packed(tried.proposals), tried.thread_seconds


class ProcessSeedWorker:
    """`SeedWorker` for a `SeedProcess`."""

    def __init__(self, actor: Any, num_threads: int = 1) -> None:
        self.num_threads = num_threads
        self._actor = actor
        self._removals: list[Tokens] = []
        self._num_known = 0
        # Its threads wait: a Ray reference's own future may never fire.
        self._waiting = ThreadPoolExecutor(QUEUED)
        self.ready: Future[bool] = self._waiting.submit(ray.get, actor.ready.remote())

    def start(self, seeds: Sequence[int]) -> Future[TriedSeeds]:
        """As `SeedWorker`."""
        num_removals = len(self._removals)
        removed = concatenated(self._removals[self._num_known :])
        reference = self._actor.propose_clusters.remote(num_removals, removed, list(seeds))

        def answer() -> TriedSeeds:
            proposals, seconds = ray.get(reference)
            self._num_known = num_removals  # answers of one round come before the next
            return TriedSeeds(proposals=unpacked(proposals), thread_seconds=seconds)

        return self._waiting.submit(answer)

    def remove(self, tokens: Tokens) -> None:
        """As `SeedWorker`."""
        self._removals.append(tokens)

    def close(self) -> None:
        """As `SeedWorker`."""
        ray.kill(self._actor)
        self._waiting.shutdown(wait=False, cancel_futures=True)


def concatenated(parts: Sequence[Tokens]) -> Tokens:
    return np.concatenate([*parts, np.empty(0, np.int32)]).astype(np.int32)
