"""Who tries the seeds of a round: threads of this process and, where there is room, processes of a
Ray cluster on all of its machines.

Seeds are dealt in small chunks to whoever is free, and results are put in the order of the seeds:
who tried what, who joined late and who died cannot be seen in them. A member is told only what was
removed since it was last given work.
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
from spectro.clustering.graph.graph import Graph
from spectro.clustering.local.seed_cluster import Candidate, LocalRule, local_rule
from spectro.clustering.local.seed_executor import serial_executor
from spectro.storage.store import Store
from spectro.work.errors import reason_of
from spectro.work.outcome import MAX_FAILED_STARTS

logger = logging.getLogger(__name__)
Tokens = npt.NDArray[np.int32]
CHUNKS_PER_HAND = 4
"""Chunks of a round for each who works: few messages, and nobody waits long for the last."""
LOOK_SECONDS = 5.0
"""From look to look for room on the cluster."""


class SeedWorker(Protocol):
    """One who tries seeds, a chunk at a time."""

    def start(self, seeds: Sequence[int]) -> Future[list[Candidate]]:
        """Try these seeds against the graph without all that was removed so far."""
        ...

    def remove(self, tokens: Tokens) -> None:
        """These belong to clusters from now on."""
        ...

    def close(self) -> None:
        """No more seeds."""
        ...


class ThreadSeedWorker:
    """A thread of this process."""

    def __init__(self, graph: Graph, rule: LocalRule, removed: npt.NDArray[np.uint8]) -> None:
        self._crew = serial_executor(graph, rule, removed)
        self._thread = ThreadPoolExecutor(1)

    def start(self, seeds: Sequence[int]) -> Future[list[Candidate]]:
        return self._thread.submit(self._crew.try_seeds, seeds)

    def remove(self, tokens: Tokens) -> None:
        self._crew.remove(tokens)

    def close(self) -> None:
        self._thread.shutdown()


class SeedProcess:
    """A process of the cluster that tries seeds; an actor.

    Args:
        uri: part of the run.
        unit: the clusters that are looked for.
        config: how.
        scratch: base folder of scratch files.
        removed: tokens that belong to clusters already.
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
            graph = lists.graph()  # stays mapped, even if another process removes its files
        state = np.zeros(graph.num_nodes, np.uint8)
        state[removed] = 1
        self._crew = serial_executor(graph, local_rule(graph, config), state)

    def ready(self) -> bool:
        """Answered when the graph is there."""
        return True

    def try_seeds(self, removed: Tokens, seeds: Sequence[int]) -> list[Candidate]:
        """Candidates of some seeds, after what was removed since the last call."""
        self._crew.remove(removed)
        return self._crew.try_seeds(seeds)


class ProcessSeedWorker:
    """A `SeedProcess`, as the crew sees it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._news: list[Tokens] = []
        self._thread = ThreadPoolExecutor(1)  # waits: a reference's own future may stay silent
        self.ready: Future[bool] = self._thread.submit(ray.get, actor.ready.remote())

    def start(self, seeds: Sequence[int]) -> Future[list[Candidate]]:
        """See `SeedWorker`."""
        news = np.concatenate([*self._news, np.empty(0, np.int32)]).astype(np.int32)
        self._news = []
        return self._thread.submit(ray.get, self._actor.try_seeds.remote(news, list(seeds)))

    def remove(self, tokens: Tokens) -> None:
        self._news.append(tokens)

    def close(self) -> None:
        """See `SeedWorker`."""
        ray.kill(self._actor)
        self._thread.shutdown(wait=False)


@dataclass(kw_only=True)
class DistributedSeedExecutor:
    """See `spectro.clustering.local.seed_executor.Crew`; close it."""

    hands: list[SeedWorker]
    """Threads of this process, at least one: they go on when every process is lost."""
    start_process: Callable[[Tokens], ProcessSeedWorker]
    """Starts a process that knows of these removed tokens."""
    wanted: Callable[[int], int]
    """How many processes there should be, when so many are here or coming."""
    removed: list[Tokens] = field(default_factory=list)
    """All that was removed so far."""
    _processes: list[ProcessSeedWorker] = field(default_factory=list)
    _coming: list[ProcessSeedWorker] = field(default_factory=list)
    _looked: float = float("-inf")
    _failed_starts: int = 0

    def try_seeds(self, seeds: Sequence[int]) -> list[Candidate]:
        self._look()
        num_hands = len(self.hands) + len(self._processes)
        size = max(1, len(seeds) // (CHUNKS_PER_HAND * num_hands))
        chunks = deque(range(0, len(seeds), size))
        found: dict[int, list[Candidate]] = {}
        free: deque[SeedWorker] = deque([*self._processes, *self.hands])
        busy: dict[Future[list[Candidate]], tuple[int, SeedWorker]] = {}
        while chunks or busy:
            while chunks and free:
                start, hand = chunks.popleft(), free.popleft()
                busy[hand.start(seeds[start : start + size])] = (start, hand)
            for answer in wait_for(busy, return_when=FIRST_COMPLETED).done:
                start, hand = busy.pop(answer)
                try:
                    found[start] = answer.result()
                    free.append(hand)
                except RayTaskError:  # what is wrong there is wrong here
                    raise
                except RayError as error:
                    self._lost(hand, error)
                    chunks.appendleft(start)
        return [candidate for start in sorted(found) for candidate in found[start]]

    def remove(self, tokens: Tokens) -> None:
        self.removed.append(tokens)
        for hand in (*self.hands, *self._processes, *self._coming):
            hand.remove(tokens)

    def close(self) -> None:
        """End all of them."""
        for hand in (*self.hands, *self._processes, *self._coming):
            hand.close()

    def _look(self) -> None:
        """Take in the processes that are ready, start those that there is room for."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS and not any(h.ready.done() for h in self._coming):
            return
        self._looked = now
        for hand in [h for h in self._coming if h.ready.done()]:
            self._coming.remove(hand)
            self._take_in(hand)
        if self._coming:  # what they will take is still counted as free
            return
        if self._failed_starts >= MAX_FAILED_STARTS:  # those that are here go on
            return
        for _ in range(self.wanted(len(self._processes)) - len(self._processes)):
            known = np.concatenate([*self.removed, np.empty(0, np.int32)]).astype(np.int32)
            self._coming.append(self.start_process(known))

    def _take_in(self, hand: ProcessSeedWorker) -> None:
        error = hand.ready.exception()
        if error is None:
            self._failed_starts = 0
            self._processes.append(hand)
            return
        if not isinstance(error, RayError):
            raise error
        self._failed_starts += 1
        logger.warning("a process that tries seeds did not come up: %s", reason_of(error))
        hand.close()

    def _lost(self, hand: SeedWorker, error: RayError) -> None:
        logger.info("a process that tries seeds is gone: %s", reason_of(error))
        assert isinstance(hand, ProcessSeedWorker)
        self._processes.remove(hand)
        hand.close()


def seed_crew(
    graph: Graph,
    rule: LocalRule,
    removed: npt.NDArray[np.uint8],
    *,
    unit: ClusterUnit,
    config: ClusterConfig,
    uri: str,
    scratch: str | None,
    num_threads: int,
    wanted: Callable[[int], int],
) -> DistributedSeedExecutor:
    """The crew of a cluster unit.

    Args:
        graph, rule, removed: as `Crew`s get them.
        unit: the clusters that are looked for.
        config: how.
        uri: part of the run.
        scratch: base folder of scratch files.
        num_threads: of this process.
        wanted: number of processes beside this one, asked now and then; each takes one CPU.
    """
    actor = ray.remote(SeedProcess).options(num_cpus=1, max_restarts=0)
    return DistributedSeedExecutor(
        hands=[ThreadSeedWorker(graph, rule, removed) for _ in range(num_threads)],
        start_process=lambda known: ProcessSeedWorker(
            actor.remote(uri, unit, config, scratch, known)
        ),
        wanted=wanted,
        removed=[np.flatnonzero(removed).astype(np.int32)],
    )
