"""Seeds tried on other machines, each with its own copy of the graph: the same clusters."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import pytest
from ray._private import ray_constants

from benchmarks.product import clusters_of, do_units, product_config, write_product
from spectro.cluster_stage.distributed_seeds import DistributedSeedExecutor
from spectro.cluster_stage.seed_workers import ProcessSeedWorker
from spectro.clustering.config import ClusterConfig
from spectro.clustering.local.seed_executor import TriedSeeds
from spectro.storage.store import Store
from spectro.work.config import RunConfig
from spectro.work.ray_session import ray_session
from tests.chaos.cluster import SimulatedCluster
from tests.cluster.planted import mixture

pytestmark = pytest.mark.slow

CONFIG = ClusterConfig(num_neighbours=12, min_size=10, reach=150, round_size=48, stability=False)


def tables(uri: str, **run: Any) -> list[bytes]:
    chi, _ = mixture(sizes=[120, 90, 60, 40], num_body=890, num_columns=8)
    layout = write_product(uri, [chi])
    config = product_config(uri, CONFIG, **run)
    do_units(config, clusters_of(config, layout), lambda unit, do: do())
    store = Store(uri)
    return [store.read(f"clusters/{table}.parquet") for table in ("clusters", "members")]


@pytest.fixture
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray has read what a cluster tells it by the environment when it was imported."""
    before = dict(os.environ)
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("on_loopback")
def test_machines_that_have_nothing_make_their_own_graph_and_may_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines with folders of their own; one is cut off after some of its seeds."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # this process's scratch
    alone = tables(str(tmp_path / "alone"))
    folders = [tmp_path / name for name in ("machine-1", "machine-2")]
    given: list[ProcessSeedWorker] = []
    look, start = DistributedSeedExecutor._scale, ProcessSeedWorker.start

    def look_and_wait(executor: DistributedSeedExecutor) -> None:
        if len(cluster.machines) == len(folders):  # where the cut one was there is no room
            wait([worker.ready for worker in executor._starting])
        look(executor)

    def start_and_cut(worker: ProcessSeedWorker, seeds: Sequence[int]) -> Future[TriedSeeds]:
        given.append(worker)
        if len(given) == 9:
            cluster.kill_machine(cluster.machines[0])
        return start(worker, seeds)

    monkeypatch.setattr(DistributedSeedExecutor, "_scale", look_and_wait)
    monkeypatch.setattr(ProcessSeedWorker, "start", start_and_cut)
    for name in ("SCALE", "CHUNK", "LEAST"):  # one seed a chunk
        monkeypatch.setattr(f"spectro.cluster_stage.distributed_seeds.{name}_SECONDS", 0.0)
    with SimulatedCluster(0) as cluster:
        for folder in folders:
            folder.mkdir()
            cluster.add(TMPDIR=str(folder))
        with ray_session(RunConfig(ray_address=cluster.address)):
            shared = tables(str(tmp_path / "shared"), seed_processes=2, ray_address=cluster.address)
    assert len(set(given)) >= 2 and len(given) > 20
    for folder in folders:
        assert [path.name for path in folder.glob("spectro-scratch-*/*/graph/whole")] == ["whole"]
    assert shared == alone
