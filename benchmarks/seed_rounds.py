"""How busy the cores that try seeds are: chunk by chunk, or ahead of the rounds.

    python -m benchmarks.seed_rounds --cores 16 --threads 8 --out benchmarks/results

Both sides try the same seeds in Ray actors that sleep as long as the seeds take (a keyed time each,
exponential around `--milliseconds`), so that there can be more cores than here; their calls,
messages and proposals are real. The share of the cores' time that is work is counted: the seeds'
seconds over cores times the seconds by the clock. `before` is the code of 2026-11-28: a process per
core has one chunk at a time, a quarter of its share of the round, and all wait for the round. `now`
has a process of so many `--threads` per machine.
"""

from __future__ import annotations

import heapq
import statistics
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from benchmarks import common
from spectro.cluster_stage.distributed_seeds import DistributedSeedExecutor
from spectro.cluster_stage.seed_workers import QUEUED, ProcessSeedWorker
from spectro.clustering.config import ClusterConfig
from spectro.clustering.local.round_state import SelectionState
from spectro.clustering.local.rounds import SeedOrder, proposed_rounds, round_size
from spectro.clustering.local.seed_executor import Proposals, SeedExecutor
from spectro.clustering.local.seed_proposal import Proposal, packed
from spectro.work.config import RunConfig
from spectro.work.ray_session import ray_session

MEMBERS, EVERY = 100, 3
"""Every third seed proposes a cluster of 100 tokens, which is sent back."""
CHUNKS_PER_WORKER = 4
"""Of the code before."""


def seconds_of(seeds: Sequence[int], mean: float) -> NDArray[np.float64]:
    """What each seed takes; keyed by the seed."""
    hashed = np.asarray(seeds, np.uint64) * np.uint64(2654435761) % np.uint64(2**32)
    uniform = (hashed + 0.5) / 2**32
    found: NDArray[np.float64] = -mean * np.log(uniform)
    return found


class Sleeper:
    """A `SeedProcess` whose seeds take a given time; its chunks do not overlap."""

    def __init__(self, mean: float, num_threads: int) -> None:
        self._mean, self._num_threads, self._lock = mean, num_threads, threading.Lock()

    def ready(self) -> bool:
        """As `SeedProcess`."""
        return True

    def propose_before(self, seeds: Sequence[int]) -> list[Proposal]:
        """As `SeedProcess` did."""
        return self._try(seeds)[0]

    def propose_clusters(self, num_removals: int, removed: Any, seeds: Sequence[int]) -> Any:
        """As `SeedProcess`."""
        proposals, seconds = self._try(seeds)
        return packed(proposals), seconds

    def _try(self, seeds: Sequence[int]) -> tuple[list[Proposal], float]:
        seconds = seconds_of(seeds, self._mean)
        with self._lock:
            ends = [0.0] * self._num_threads
            for one in seconds.tolist():  # to the thread that is free first
                heapq.heapreplace(ends, ends[0] + one)
            time.sleep(max(ends))
        proposals = [
            Proposal(
                seed=seed,
                tokens=np.zeros(MEMBERS * (seed % EVERY == 0), np.int32),
                scores=np.zeros(MEMBERS * (seed % EVERY == 0), np.float32),
                conductance=0.5,
                num_edges=1,
            )
            for seed in seeds
        ]
        return proposals, float(seconds.sum())


@dataclass
class Before:
    """The executor as it was."""

    actors: Sequence[Any]
    waiting: ThreadPoolExecutor
    num_ahead = 0

    def submit(self, seeds: Sequence[int]) -> Proposals:
        """As `SeedExecutor`."""
        free = deque(self.actors)
        size = max(1, len(seeds) // (CHUNKS_PER_WORKER * len(free)))
        chunks = deque(range(0, len(seeds), size))
        found: dict[int, list[Proposal]] = {}
        busy: dict[Future[list[Proposal]], tuple[int, Any]] = {}
        while chunks or busy:
            while chunks and free:
                start, actor = chunks.popleft(), free.popleft()
                reference = actor.propose_before.remote(list(seeds[start : start + size]))
                busy[self.waiting.submit(ray.get, reference)] = (start, actor)
            for answer in wait(busy, return_when=FIRST_COMPLETED).done:
                start, actor = busy.pop(answer)
                found[start] = answer.result()
                free.append(actor)
        proposals = [proposal for start in sorted(found) for proposal in found[start]]
        return lambda: proposals

    def remove(self, tokens: Any) -> None:
        """As `SeedExecutor`."""


def now(workers: Sequence[ProcessSeedWorker]) -> DistributedSeedExecutor:
    """The executor as it is, with processes alone."""
    first, *others = workers
    executor = DistributedSeedExecutor(
        threads=first,
        start_processes=lambda present, starting, known: [] if present else others,
    )
    executor.submit([])()
    wait([worker.ready for worker in others])
    executor.submit([])()
    return executor


def busy_share(executor: SeedExecutor, config: ClusterConfig, options: Any) -> float:
    """Share of the cores' time in which they try seeds, in the first rounds."""
    state = SelectionState.start(options.tokens)
    order = SeedOrder(state, config)
    work, start = 0.0, time.perf_counter()
    for candidates in proposed_rounds(order, executor, config):
        for candidate in candidates:
            state.mark_tried(candidate.seed)
        seconds = seconds_of([c.seed for c in candidates], options.milliseconds / 1e3)
        work += float(seconds.sum())
    return work / (options.cores * (time.perf_counter() - start))


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's text."""
    parser = common.parser(__doc__, ["none"])
    parser.set_defaults(shape="none")
    parser.add_argument("--cores", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=4_260_000)
    parser.add_argument("--num-rounds", type=int, default=40, help="rounds of seeds, each time")
    parser.add_argument("--milliseconds", type=float, default=1.2, help="of a seed, on average")
    options = common.parse(parser, arguments)
    if options.toy:
        options.cores, options.threads, options.num_rounds, options.tokens = 2, 2, 3, 100_000
    found: dict[str, dict[str, list[float]]] = {}
    with ray_session(RunConfig(num_workers=2)):
        single = _actors(options.cores, 1, options.milliseconds / 1e3)
        several = _actors(
            options.cores // options.threads, options.threads, options.milliseconds / 1e3
        )
        tried = options.num_rounds * round_size(ClusterConfig(), options.tokens) / options.tokens
        for name, config in (
            ("overlap", ClusterConfig(untried_fraction=1 - tried)),
            ("disjoint", ClusterConfig(overlap=False, untried_fraction=1 - tried)),
        ):
            sides = {
                "before": lambda of=config: busy_share(
                    Before(single, ThreadPoolExecutor(options.cores)), of, options
                ),
                "now": lambda of=config: busy_share(
                    now(_workers(several, options.threads)), of, options
                ),
            }
            found[name] = common.alternate(sides, options.rounds)
    for name, shares in found.items():
        before, after = (statistics.median(shares[side]) for side in ("before", "now"))
        print(f"{name:10} busy share: before {before:.3f}, now {after:.3f}")
    result = {
        "question": "share of the cores' time in which they try seeds",
        "seeds_per_round": round_size(ClusterConfig(), options.tokens),
        "busy_share": found,
    }
    common.write("seed-rounds", options, result)


def _actors(count: int, num_threads: int, mean: float) -> list[Any]:
    actor = ray.remote(Sleeper).options(num_cpus=0, max_concurrency=QUEUED)
    handles = [actor.remote(mean, num_threads) for _ in range(count)]
    ray.get([handle.ready.remote() for handle in handles])
    return handles


def _workers(handles: Sequence[Any], num_threads: int) -> list[ProcessSeedWorker]:
    return [ProcessSeedWorker(handle, num_threads) for handle in handles]


if __name__ == "__main__":
    main()
