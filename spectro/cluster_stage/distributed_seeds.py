"""Distributed seed executor: rounds of seeds in chunks over threads and processes.

Proposals are ordered by seed, so that the result does not depend on the number, the start or the
loss of workers, nor on the chunks. A chunk takes long enough to hide what a Ray call costs, and
chunks get smaller as the submitted seeds run out, so that workers end together.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue

from ray.exceptions import RayError, RayTaskError

from spectro.cluster_stage.seed_workers import (
    QUEUED,
    ProcessSeedWorker,
    SeedWorker,
    Tokens,
    concatenated,
)
from spectro.clustering.local.seed_executor import Proposals, TriedSeeds
from spectro.clustering.local.seed_proposal import Proposal
from spectro.work.errors import reason_of
from spectro.work.outcome import MAX_FAILED_STARTS

logger = logging.getLogger(__name__)
CHUNK_SECONDS = 0.25
"""Time of a chunk while there are many seeds; a call of an actor takes some milliseconds."""
LEAST_SECONDS = 0.02
"""Time of a chunk at least, while its round has so many seeds."""
SCALE_SECONDS = 5.0
"""Interval between checks for machines to start processes on."""
Answer = Future[TriedSeeds]


@dataclass(eq=False, kw_only=True)
class _Round:
    seeds: Sequence[int]
    num_given: int = 0
    num_answered: int = 0
    found: dict[int, list[Proposal]] = field(default_factory=dict)
    """Proposals of a chunk, by its first position."""


@dataclass(eq=False, kw_only=True)
class _Chunk:
    round: _Round
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(eq=False, kw_only=True)
class _Member:
    """A worker and what it is doing."""

    worker: SeedWorker
    chunks: dict[Answer, _Chunk] = field(default_factory=dict)


@dataclass(kw_only=True)
class DistributedSeedExecutor:
    """`SeedExecutor` over threads and Ray actors; close it."""

    threads: SeedWorker
    """Of this process: it continues if every process is lost."""
    start_processes: Callable[[int, int, Tokens], Sequence[ProcessSeedWorker]]
    """Starts further actors, given how many there are, how many of them are starting, and all
    tokens removed so far."""
    removed: list[Tokens] = field(default_factory=list)
    """All tokens removed so far."""
    _starting: list[ProcessSeedWorker] = field(default_factory=list)
    _rounds: deque[_Round] = field(default_factory=deque)
    _lost: deque[_Chunk] = field(default_factory=deque)
    _answers: SimpleQueue[tuple[_Member, Answer]] = field(default_factory=SimpleQueue)
    _num_tried: int = 0
    _thread_seconds: float = 0.0
    _scaled_at: float = float("-inf")
    _failed_starts: int = 0

    def __post_init__(self) -> None:
        self._members = [_Member(worker=self.threads)]

    @property
    def num_ahead(self) -> int:
        """As `SeedExecutor`: as many as all queues hold, and what comes after them."""
        each = max(1.0, CHUNK_SECONDS * self._seeds_per_second())
        return int((QUEUED + 1) * self._num_threads() * each)

    def submit(self, seeds: Sequence[int]) -> Proposals:
        """As `SeedExecutor`; a lost actor costs its chunks only."""
        self._scale()
        submitted = _Round(seeds=seeds)
        self._rounds.append(submitted)
        self._give()
        return partial(self._proposals, submitted)

    def remove(self, tokens: Tokens) -> None:
        """As `SeedExecutor`."""
        self.removed.append(tokens)
        for worker in self._workers():
            worker.remove(tokens)

    def close(self) -> None:
        """Stop all workers."""
        for worker in self._workers():
            worker.close()

    def _proposals(self, submitted: _Round) -> list[Proposal]:
        """Wait for a round; raises an actor's error."""
        while submitted.num_answered < len(submitted.seeds):
            self._book(*self._answers.get())
            while not self._answers.empty():
                self._book(*self._answers.get())
            self._give()
        return [found for start in sorted(submitted.found) for found in submitted.found[start]]

    def _give(self) -> None:
        """Give chunks to workers, those with the fewest first."""
        while self._lost or any(r.num_given < len(r.seeds) for r in self._rounds):
            member = min(self._members, key=lambda member: len(member.chunks))
            if len(member.chunks) >= QUEUED:
                return
            chunk = self._lost.popleft() if self._lost else self._next_chunk(member.worker)
            answer = member.worker.start(chunk.round.seeds[chunk.start : chunk.stop])
            member.chunks[answer] = chunk
            answer.add_done_callback(partial(self._note, member))

    def _note(self, member: _Member, answer: Answer) -> None:
        self._answers.put((member, answer))

    def _next_chunk(self, worker: SeedWorker) -> _Chunk:
        while self._rounds[0].num_given == len(self._rounds[0].seeds):
            self._rounds.popleft()
        first = self._rounds[0]
        start = first.num_given
        first.num_given = min(len(first.seeds), start + self._size(worker))
        return _Chunk(round=first, start=start, stop=first.num_given)

    def _size(self, worker: SeedWorker) -> int:
        """Seeds of a chunk: half of the worker's share of what waits, within bounds of time."""
        num_waiting = sum(len(r.seeds) - r.num_given for r in self._rounds)
        share = num_waiting * worker.num_threads / (QUEUED * self._num_threads())
        per_second = worker.num_threads * self._seeds_per_second()
        return max(1, int(min(CHUNK_SECONDS * per_second, max(LEAST_SECONDS * per_second, share))))

    def _book(self, member: _Member, answer: Answer) -> None:
        chunk = member.chunks.pop(answer, None)
        if chunk is None:  # of a worker that was lost
            return
        try:
            found = answer.result()
        except RayTaskError:  # deterministic: it would fail here too
            raise
        except RayError as error:
            self._lost.append(chunk)
            self._drop(member, error)
            return
        chunk.round.found[chunk.start] = found.proposals
        chunk.round.num_answered += len(chunk)
        self._num_tried += len(chunk)
        self._thread_seconds += found.thread_seconds

    def _seeds_per_second(self) -> float:
        """Of one thread; 0 before the first answer: then chunks are of one seed."""
        return self._num_tried / self._thread_seconds if self._thread_seconds > 0 else 0.0

    def _num_threads(self) -> int:
        return sum(member.worker.num_threads for member in self._members)

    def _workers(self) -> list[SeedWorker]:
        return [*(member.worker for member in self._members), *self._starting]

    def _scale(self) -> None:
        """Admit processes that are ready; start those that there is room for."""
        now = time.monotonic()
        ready = [process for process in self._starting if process.ready.done()]
        if now - self._scaled_at < SCALE_SECONDS and not ready:
            return
        self._scaled_at = now
        for process in ready:
            self._starting.remove(process)
            self._admit(process)
        if self._failed_starts < MAX_FAILED_STARTS:
            present = len(self._members) - 1 + len(self._starting)
            known = concatenated(self.removed)
            self._starting.extend(self.start_processes(present, len(self._starting), known))

    def _admit(self, process: ProcessSeedWorker) -> None:
        error = process.ready.exception()
        if error is None:
            self._failed_starts = 0
            self._members.append(_Member(worker=process))
        elif isinstance(error, RayError):
            self._failed_starts += 1
            logger.warning("a seed process failed to start: %s", reason_of(error))
            process.close()
        else:
            raise error

    def _drop(self, member: _Member, error: RayError) -> None:
        logger.info("a seed process was lost: %s", reason_of(error))
        assert isinstance(member.worker, ProcessSeedWorker)
        self._members.remove(member)
        self._lost.extend(member.chunks.values())
        member.chunks.clear()
        member.worker.close()
