"""How busy the workers that try seeds are: chunk by chunk, or ahead of the rounds.

    python -m benchmarks.seed_rounds --workers 16 --tokens 4260000 --out benchmarks/results

Both sides try the same seeds in the same Ray actors, which sleep as long as each seed is to take (a
keyed time, exponential around `--milliseconds`), so that more workers than cores can be had; their
calls, messages and proposals are real. The share of the workers' time that is work is counted: the
seeds' seconds over workers times the seconds by the clock. `before` gives every free worker one
chunk, a quarter of its share of the round, and waits for the round, as the code did until 2026-11.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray

from benchmarks import common
from spectro.cluster_stage.distributed_seeds import DistributedSeedExecutor
from spectro.cluster_stage.seed_workers import QUEUED, ProcessSeedWorker, SeedWorker
from spectro.clustering.config import ClusterConfig
from spectro.clustering.local.round_state import SelectionState
from spectro.clustering.local.rounds import SeedOrder, proposed_rounds, round_size
from spectro.clustering.local.seed_executor import Proposals, SeedExecutor, TriedSeeds
from spectro.clustering.local.seed_proposal import Proposal
from spectro.config import RunConfig
from spectro.work.ray_session import ray_session

MEMBERS, EVERY = 100, 3
"""Every third seed proposes a cluster of 100 tokens, which is sent back."""
CHUNKS_PER_WORKER = 4
"""Of the code before."""


def seconds_of(seeds: Sequence[int], mean: float) -> float:
    """What some seeds take; keyed by the seed."""
    hashed = np.asarray(seeds, np.uint64) * np.uint64(2654435761) % np.uint64(2**32)
    uniform = (hashed + 0.5) / 2**32
    return float(-mean * np.log(uniform).sum())


class Sleeper:
    """A `SeedProcess` of one thread whose seeds take a given time."""

    def __init__(self, mean: float) -> None:
        self._mean, self._lock = mean, threading.Lock()

    def ready(self) -> bool:
        """As `SeedProcess`."""
        return True

    def propose_clusters(self, num_removals: int, removed: Any, seeds: Sequence[int]) -> TriedSeeds:
        """As `SeedProcess`."""
        seconds = seconds_of(seeds, self._mean)
        with self._lock:
            time.sleep(seconds)
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
        return TriedSeeds(proposals=proposals, thread_seconds=seconds)


@dataclass
class Before:
    """The executor as it was."""

    workers: Sequence[SeedWorker]
    num_ahead = 0

    def submit(self, seeds: Sequence[int]) -> Proposals:
        """As `SeedExecutor`."""
        free = deque(self.workers)
        size = max(1, len(seeds) // (CHUNKS_PER_WORKER * len(free)))
        chunks = deque(range(0, len(seeds), size))
        found: dict[int, list[Proposal]] = {}
        busy: dict[Any, tuple[int, SeedWorker]] = {}
        while chunks or busy:
            while chunks and free:
                start, worker = chunks.popleft(), free.popleft()
                busy[worker.start(seeds[start : start + size])] = (start, worker)
            for answer in wait(busy, return_when=FIRST_COMPLETED).done:
                start, worker = busy.pop(answer)
                found[start] = answer.result().proposals
                free.append(worker)
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
    """Share of the workers' time in which they try seeds, in the first rounds."""
    state = SelectionState.start(options.tokens)
    order = SeedOrder(state, config)
    work, start = 0.0, time.perf_counter()
    for candidates in proposed_rounds(order, executor, config):
        for candidate in candidates:
            state.mark_tried(candidate.seed)
        work += seconds_of([c.seed for c in candidates], options.milliseconds / 1e3)
    return work / (options.workers * (time.perf_counter() - start))


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's text."""
    parser = common.parser(__doc__, ["none"])
    parser.set_defaults(shape="none")
    parser.add_argument("--workers", type=int, default=16, help="Ray actors")
    parser.add_argument("--tokens", type=int, default=4_260_000)
    parser.add_argument("--num-rounds", type=int, default=40, help="rounds of seeds, each time")
    parser.add_argument("--milliseconds", type=float, default=1.2, help="of a seed, on average")
    options = common.parse(parser, arguments)
    if options.toy:
        options.workers, options.num_rounds = 2, 3
    found: dict[str, dict[str, list[float]]] = {}
    with ray_session(RunConfig(num_workers=2)):
        actor = ray.remote(Sleeper).options(num_cpus=0, max_concurrency=QUEUED)
        handles = [actor.remote(options.milliseconds / 1e3) for _ in range(options.workers)]
        ray.get([handle.ready.remote() for handle in handles])
        tried = options.num_rounds * round_size(ClusterConfig(), options.tokens) / options.tokens
        for name, config in (
            ("overlap", ClusterConfig(untried_fraction=1 - tried)),
            ("disjoint", ClusterConfig(overlap=False, untried_fraction=1 - tried)),
        ):
            sides = {
                "before": lambda of=config: busy_share(Before(_workers(handles)), of, options),
                "now": lambda of=config: busy_share(now(_workers(handles)), of, options),
            }
            found[name] = common.alternate(sides, options.rounds)
    for name, shares in found.items():
        before, after = (statistics.median(shares[side]) for side in ("before", "now"))
        print(f"{name:10} busy share: before {before:.3f}, now {after:.3f}")
    result = {
        "question": "share of the workers' time in which they try seeds",
        "seeds_per_round": round_size(ClusterConfig(), options.tokens),
        "busy_share": found,
    }
    common.write("seed-rounds", options, result)


def _workers(handles: Sequence[Any]) -> list[ProcessSeedWorker]:
    return [ProcessSeedWorker(handle) for handle in handles]


if __name__ == "__main__":
    main()
