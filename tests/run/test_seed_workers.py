"""Seeds tried by processes of a Ray cluster, which come late and die: the same clusters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import pytest
import ray

from benchmarks.product import clusters_of, do_units, product_config, write_product
from spectro.cluster_stage.seed_workers import DistributedSeedExecutor, ProcessSeedWorker
from spectro.clustering.config import ClusterConfig
from spectro.config import RunConfig
from spectro.storage.store import Store
from spectro.work.outcome import MAX_FAILED_STARTS
from spectro.work.ray_session import ray_session
from tests.cluster.planted import mixture

CONFIG = ClusterConfig(num_neighbours=12, min_size=10, reach=150, round_size=24, stability=False)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray cluster; each test leaves no process of its own behind."""
    with ray_session(RunConfig(num_workers=3)):
        yield


def tables(folder: Path, name: str, **run: Any) -> list[bytes]:
    chi, _ = mixture(sizes=[120, 90, 60, 40], num_body=890, num_columns=8)
    layout = write_product(str(folder / name), [chi[:800], chi[800:]])
    config = product_config(
        str(folder / name), CONFIG, scratch=str(folder / f"scratch-{name}"), **run
    )
    do_units(config, clusters_of(config, layout), lambda unit, do: do())
    store = Store(config.run.uri)
    return [store.read(f"clusters/{table}.parquet") for table in ("clusters", "members")]


@pytest.mark.usefixtures("cluster")
def test_processes_that_join_and_die_do_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = tables(tmp_path, "alone", seed_processes=0)
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
    monkeypatch.setattr("spectro.cluster_stage.seed_workers.SCALE_SECONDS", 0.0)
    shared = tables(tmp_path, "shared", seed_processes=2)
    assert len(given) > 20 and len(met_on_the_way) >= 3
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

        def propose_clusters(self, removed: Any, seeds: Sequence[int]) -> list[Any]:
            raise ValueError("seed 3 is in a cluster already")

    return ray.remote(Broken)


def crew_with(start: Callable[[Any], ProcessSeedWorker]) -> DistributedSeedExecutor:
    class Alone:
        def start(self, seeds: Sequence[int]) -> Future[list[Any]]:
            answer: Future[list[Any]] = Future()
            answer.set_result([])
            return answer

        def remove(self, nodes: Any) -> None: ...

        def close(self) -> None: ...

    return DistributedSeedExecutor(
        threads=[Alone()], start_process=start, num_wanted=lambda there: 1
    )


@pytest.mark.usefixtures("cluster")
def test_processes_that_never_come_up_are_not_started_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("spectro.cluster_stage.seed_workers.SCALE_SECONDS", 0.0)
    started: list[ProcessSeedWorker] = []

    def start(known: Any) -> ProcessSeedWorker:
        started.append(ProcessSeedWorker(broken().remote("too much")))
        return started[-1]

    executor = crew_with(start)
    for _ in range(2 * MAX_FAILED_STARTS):
        wait([worker.ready for worker in started])
        executor.propose_clusters([1, 2])
    executor.close()
    assert len(started) == MAX_FAILED_STARTS
    assert all(worker._thread._shutdown for worker in started)


@pytest.mark.usefixtures("cluster")
def test_what_a_process_says_is_wrong_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectro.cluster_stage.seed_workers.SCALE_SECONDS", 0.0)
    executor = crew_with(lambda known: ProcessSeedWorker(broken().remote()))
    executor.propose_clusters([1, 2])
    wait([worker.ready for worker in executor._starting])
    with pytest.raises(ValueError, match="seed 3 is in a cluster already"):
        executor.propose_clusters([1, 2])
    executor.close()
