"""Seeds tried by processes of a Ray cluster, which come late and die: the same clusters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from benchmarks.product import clusters_of, do_units, product_config, write_product
from spectro.cluster_stage.distributed_seeds import DistributedSeedExecutor
from spectro.cluster_stage.seed_workers import ProcessSeedWorker
from spectro.clustering.config import ClusterConfig
from spectro.clustering.local.seed_executor import TriedSeeds
from spectro.storage.store import Store
from spectro.work.config import RunConfig
from spectro.work.outcome import MAX_FAILED_STARTS
from spectro.work.ray_session import ray_session
from tests.cluster.planted import mixture

CONFIG = ClusterConfig(num_neighbours=12, min_size=10, reach=150, round_size=24, stability=False)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray cluster; each test leaves no process of its own behind."""
    with ray_session(RunConfig(num_workers=3)):
        yield


def tables(folder: Path, name: str, cluster: ClusterConfig, **run: Any) -> list[bytes]:
    chi, _ = mixture(sizes=[120, 90, 60, 40], num_body=890, num_columns=8)
    layout = write_product(str(folder / name), [chi[:800], chi[800:]])
    config = product_config(
        str(folder / name), cluster, scratch=str(folder / f"scratch-{name}"), **run
    )
    do_units(config, clusters_of(config, layout), lambda unit, do: do())
    store = Store(config.run.uri)
    return [store.read(f"clusters/{table}.parquet") for table in ("clusters", "members")]


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("overlap", [True, False])
def test_processes_that_join_and_die_do_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overlap: bool
) -> None:
    """Without overlap every round waits for the one before, and its removals must arrive."""
    config = replace(CONFIG, overlap=overlap, same_jaccard=0.5 if overlap else 1.0)
    alone = tables(tmp_path, "alone", config, seed_processes=0)
    given: list[int] = []
    look, start = DistributedSeedExecutor._scale, ProcessSeedWorker.start

    met_on_the_way = []

    def look_and_wait(executor: DistributedSeedExecutor) -> None:
        if executor._starting:  # since the round before: what it removed they must be told
            met_on_the_way.append(len(executor._starting))
            wait([worker.ready for worker in executor._starting])
        look(executor)

    def start_or_die(worker: ProcessSeedWorker, seeds: Sequence[int]) -> Any:
        given.append(len(seeds))
        if len(given) in (5, 12):
            ray.kill(worker._actor)
        return start(worker, seeds)

    monkeypatch.setattr(DistributedSeedExecutor, "_scale", look_and_wait)
    monkeypatch.setattr(ProcessSeedWorker, "start", start_or_die)
    for name in ("SCALE", "CHUNK", "LEAST"):  # one seed a chunk
        monkeypatch.setattr(f"spectro.cluster_stage.distributed_seeds.{name}_SECONDS", 0.0)
    shared = tables(tmp_path, "shared", config, seed_processes=2)
    assert len(given) > 20 and len(met_on_the_way) >= 2  # the first, and those for the dead
    assert shared == alone


def broken() -> Any:
    """A class of processes that fail before they can be used, or in their work.

    Made here, so that it travels to them: they cannot import tests.
    """

    class Broken:
        def __init__(self, *known: Any) -> None:
            if known:
                raise ValueError("the scratch folder is full")

        def ready(self) -> bool:
            return True

        def propose_clusters(self, num: int, removed: Any, seeds: Sequence[int]) -> list[Any]:
            raise ValueError("seed 3 is in a cluster already")

    return ray.remote(Broken)


def crew_with(start: Callable[[Any], ProcessSeedWorker]) -> DistributedSeedExecutor:
    class Alone:
        num_threads = 1

        def start(self, seeds: Sequence[int]) -> Future[TriedSeeds]:
            answer: Future[TriedSeeds] = Future()
            answer.set_result(TriedSeeds(proposals=[], thread_seconds=1e-3))
            return answer

        def remove(self, nodes: Any) -> None: ...

        def close(self) -> None: ...

    return DistributedSeedExecutor(
        threads=Alone(),
        start_processes=lambda present, starting, known: [] if present else [start(known)],
    )


@pytest.mark.usefixtures("cluster")
def test_processes_that_never_come_up_are_not_started_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("spectro.cluster_stage.distributed_seeds.SCALE_SECONDS", 0.0)
    started: list[ProcessSeedWorker] = []

    def start(known: Any) -> ProcessSeedWorker:
        started.append(ProcessSeedWorker(broken().remote("too much")))
        return started[-1]

    executor = crew_with(start)
    for _ in range(2 * MAX_FAILED_STARTS):
        wait([worker.ready for worker in started])
        executor.submit([1, 2])()
    executor.close()
    assert len(started) == MAX_FAILED_STARTS
    assert all(worker._waiting._shutdown for worker in started)


@pytest.mark.usefixtures("cluster")
def test_what_a_process_says_is_wrong_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SCALE", "CHUNK", "LEAST"):
        monkeypatch.setattr(f"spectro.cluster_stage.distributed_seeds.{name}_SECONDS", 0.0)
    executor = crew_with(lambda known: ProcessSeedWorker(broken().remote()))
    executor.submit([1, 2])()
    wait([worker.ready for worker in executor._starting])
    with pytest.raises(ValueError, match="seed 3 is in a cluster already"):
        executor.submit([1, 2])()
    executor.close()


@pytest.mark.usefixtures("cluster")
def test_processes_that_never_come_are_asked_for_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wants more CPUs than any machine has: an autoscaler would see that."""
    monkeypatch.setattr("spectro.cluster_stage.distributed_seeds.SCALE_SECONDS", 0.0)
    asked: list[int] = []
    begin = ProcessSeedWorker.__init__

    def too_large(worker: ProcessSeedWorker, actor: Any, num_threads: int = 1) -> None:
        asked.append(num_threads)
        begin(worker, actor, num_threads)

    monkeypatch.setattr(ProcessSeedWorker, "__init__", too_large)
    alone = tables(tmp_path, "alone", CONFIG, seed_processes=0)
    joined = {"ray_address": "auto", "threads_per_worker": 1000}
    monkeypatch.setattr("spectro.cluster_stage.seed_places.own_threads", lambda run: 1000)
    monkeypatch.setattr("spectro.cluster_stage.find.own_threads", lambda run: 2)
    assert tables(tmp_path, "pending", CONFIG, seed_processes=2, **joined) == alone
    assert asked == [1000, 1000]
