"""Distributed seed executor: threads of this process and, if CPUs are free, Ray actors.

Seeds go in small chunks to whichever worker is free, and proposals are ordered by seed, so that the
result does not depend on the number, the start or the loss of workers. A worker receives only the
tokens removed since its last chunk.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import RayError, RayTaskError

from spectro.cluster_stage.units import ClusterUnit
from spectro.cluster_stage.vectors import ListsOnNode
from spectro.clustering.config import ClusterConfig
from spectro.clustering.graph.weighted_graph import Graph
from spectro.clustering.local.seed_executor import serial_executor
from spectro.clustering.local.seed_proposal import Proposal, SeedParameters, seed_parameters
from spectro.storage.store import Store
from spectro.work.errors import reason_of
from spectro.work.outcome import MAX_FAILED_STARTS

logger = logging.getLogger(__name__)
Tokens = npt.NDArray[np.int32]
CHUNKS_PER_WORKER = 4
"""Chunks of a round per worker: few messages, and a short wait for the last chunk."""
SCALE_SECONDS = 5.0
"""Interval between checks for free CPUs."""


class SeedWorker(Protocol):
    """Proposes clusters for one chunk of seeds at a time."""

    def start(self, seeds: Sequence[int]) -> Future[list[Proposal]]:
        """Begin a chunk, on the graph without the tokens removed so far."""
        ...

    def remove(self, tokens: Tokens) -> None:
        """Remove tokens before the next chunk."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


class ThreadSeedWorker:
    """`SeedWorker` in a thread of this process."""

    def __init__(self, graph: Graph, rule: SeedParameters, removed: npt.NDArray[np.uint8]) -> None:
        self._executor = serial_executor(graph, rule, removed)
        self._thread = ThreadPoolExecutor(1)
        self.remove = self._executor.remove
        self.close = self._thread.shutdown

    def start(self, seeds: Sequence[int]) -> Future[list[Proposal]]:
        """As `SeedWorker`."""
        return self._thread.submit(self._executor.propose_clusters, seeds)


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
    ) -> None:
        with ListsOnNode(Store(uri), unit.key, unit.half, unit.layout, scratch) as lists:
            graph = lists.graph()  # stays mapped if another process removes its files
        state = np.zeros(graph.num_nodes, np.uint8)
        state[removed] = 1
        self._executor = serial_executor(graph, seed_parameters(graph, config), state)

    def ready(self) -> bool:
        """Returns once the graph is mapped."""
        return True

    def propose_clusters(self, removed: Tokens, seeds: Sequence[int]) -> list[Proposal]:
        """Proposals of some seeds, after these further removals."""
        self._executor.remove(removed)
        return self._executor.propose_clusters(seeds)


class ProcessSeedWorker:
    """`SeedWorker` for a `SeedProcess`."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._removed: list[Tokens] = []
        self._thread = ThreadPoolExecutor(1)  # waits: a Ray reference's own future may never fire
        self.ready: Future[bool] = self._thread.submit(ray.get, actor.ready.remote())

    def start(self, seeds: Sequence[int]) -> Future[list[Proposal]]:
        """As `SeedWorker`."""
        removed, self._removed = _concatenated(self._removed), []
        reference = self._actor.propose_clusters.remote(removed, list(seeds))
        return self._thread.submit(ray.get, reference)

    def remove(self, tokens: Tokens) -> None:
        """As `SeedWorker`."""
        self._removed.append(tokens)

    def close(self) -> None:
        """As `SeedWorker`."""
        ray.kill(self._actor)
        self._thread.shutdown(wait=False)


@dataclass(kw_only=True)
class DistributedSeedExecutor:
    """`SeedExecutor` over threads and Ray actors; close it."""

    threads: list[SeedWorker]
    """At least one: they continue if every process is lost."""
    start_process: Callable[[Tokens], ProcessSeedWorker]
    """Starts an actor, given all tokens removed so far."""
    num_wanted: Callable[[int], int]
    """Desired number of processes, given the present number."""
    removed: list[Tokens] = field(default_factory=list)
    """All tokens removed so far."""
    _processes: list[ProcessSeedWorker] = field(default_factory=list)
    _starting: list[ProcessSeedWorker] = field(default_factory=list)
    _scaled_at: float = float("-inf")
    _failed_starts: int = 0

    def propose_clusters(self, seeds: Sequence[int]) -> list[Proposal]:
        """As `SeedExecutor`; raises an actor's error. A lost actor costs its chunk only."""
        self._scale()
        free: deque[SeedWorker] = deque([*self._processes, *self.threads])
        size = max(1, len(seeds) // (CHUNKS_PER_WORKER * len(free)))
        chunks = deque(range(0, len(seeds), size))
        found: dict[int, list[Proposal]] = {}
        busy: dict[Future[list[Proposal]], tuple[int, SeedWorker]] = {}
        while chunks or busy:
            while chunks and free:
                start, worker = chunks.popleft(), free.popleft()
                busy[worker.start(seeds[start : start + size])] = (start, worker)
            for answer in wait_for(busy, return_when=FIRST_COMPLETED).done:
                start, worker = busy.pop(answer)
                try:
                    found[start] = answer.result()
                    free.append(worker)
                except RayTaskError:  # deterministic: it would fail here too
                    raise
                except RayError as error:
                    self._drop(worker, error)
                    chunks.appendleft(start)
        return [proposal for start in sorted(found) for proposal in found[start]]

    def remove(self, tokens: Tokens) -> None:
        """As `SeedExecutor`."""
        self.removed.append(tokens)
        for worker in self._workers():
            worker.remove(tokens)

    def close(self) -> None:
        """Stop all workers."""
        for worker in self._workers():
            worker.close()

    def _workers(self) -> list[SeedWorker]:
        return [*self.threads, *self._processes, *self._starting]

    def _scale(self) -> None:
        """Admit processes that are ready; start as many as there are CPUs for."""
        now = time.monotonic()
        ready = [process for process in self._starting if process.ready.done()]
        if now - self._scaled_at < SCALE_SECONDS and not ready:
            return
        self._scaled_at = now
        for process in ready:
            self._starting.remove(process)
            self._admit(process)
        if self._starting or self._failed_starts >= MAX_FAILED_STARTS:
            return  # CPUs of starting processes still count as free
        for _ in range(self.num_wanted(len(self._processes)) - len(self._processes)):
            self._starting.append(self.start_process(_concatenated(self.removed)))

    def _admit(self, process: ProcessSeedWorker) -> None:
        error = process.ready.exception()
        if error is None:
            self._failed_starts = 0
            self._processes.append(process)
        elif isinstance(error, RayError):
            self._failed_starts += 1
            logger.warning("a seed process failed to start: %s", reason_of(error))
            process.close()
        else:
            raise error

    def _drop(self, worker: SeedWorker, error: RayError) -> None:
        logger.info("a seed process was lost: %s", reason_of(error))
        assert isinstance(worker, ProcessSeedWorker)
        self._processes.remove(worker)
        worker.close()


def distributed_executor(
    graph: Graph,
    rule: SeedParameters,
    removed: npt.NDArray[np.uint8],
    *,
    unit: ClusterUnit,
    config: ClusterConfig,
    uri: str,
    scratch: str | None,
    num_threads: int,
    num_wanted: Callable[[int], int],
) -> DistributedSeedExecutor:
    """The seed executor of a cluster unit.

    Args:
        graph, rule, removed: as in `SeedExecutorFactory`.
        unit, config: the clusters.
        uri: part of the run.
        scratch: base folder of the node cache.
        num_threads: of this process.
        num_wanted: see `DistributedSeedExecutor`; each process takes one CPU.
    """
    actor = ray.remote(SeedProcess).options(num_cpus=1, max_restarts=0)
    return DistributedSeedExecutor(
        threads=[ThreadSeedWorker(graph, rule, removed) for _ in range(num_threads)],
        start_process=lambda known: ProcessSeedWorker(
            actor.remote(uri, unit, config, scratch, known)
        ),
        num_wanted=num_wanted,
        removed=[np.flatnonzero(removed).astype(np.int32)],
    )


def _concatenated(parts: Sequence[Tokens]) -> Tokens:
    return np.concatenate([*parts, np.empty(0, np.int32)]).astype(np.int32)
