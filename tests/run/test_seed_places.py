"""Where processes that try seeds go: machines without GPUs, or whatever an autoscaler adds."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import ray
from ray._private import ray_constants
from ray.cluster_utils import Cluster

from spectro.cluster_stage.find import _options
from spectro.cluster_stage.seed_places import MIN_TOKENS_TO_SPREAD, SeedPlace, seed_places
from spectro.work.config import RunConfig
from tests.chaos.cluster import SimulatedCluster

pytestmark = pytest.mark.slow
ENOUGH = MIN_TOKENS_TO_SPREAD


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head without CPUs, a machine with 2 GPUs and 4 CPUs, one with 3 CPUs alone."""
    before = dict(os.environ)
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
    with SimulatedCluster(0) as simulated:
        for resources in ({"num_cpus": 4, "num_gpus": 2}, {"num_cpus": 3}):
            simulated.machines.append(
                simulated._cluster.add_node(
                    wait=True,
                    object_store_memory=80_000_000,
                    node_ip_address="127.0.0.1",
                    **resources,
                )
            )
        ray.init(address=simulated.address, log_to_driver=False)
        yield simulated
        ray.shutdown()
    os.environ.clear()
    os.environ.update(before)


def test_machines_with_gpus_are_left_alone(cluster: SimulatedCluster) -> None:
    run = RunConfig(ray_address=cluster.address)
    plain = cluster.machines[1].node_id
    assert seed_places(run, ENOUGH, 0, 0) == [SeedPlace(num_cpus=3, node=plain)]
    assert seed_places(run, ENOUGH, 1, 1) == []  # its CPUs count as free until it is there
    assert seed_places(run, ENOUGH - 1, 0, 0) == []
    # An explicit number: those that there is room for, and others that wait for a machine.
    asked = seed_places(RunConfig(ray_address=cluster.address, seed_processes=5), 10, 1, 0)
    assert asked == [*[SeedPlace(num_cpus=1, node=plain)] * 3, SeedPlace(num_cpus=1)]

    class Machine:
        """Made here, so that it travels to its process: that cannot import tests."""

        def node(self) -> str:
            return str(ray.get_runtime_context().get_node_id())

    actor = ray.remote(Machine)
    there = [actor.options(**_options(place)).remote() for place in asked[:3]]
    assert {ray.get(one.node.remote()) for one in there} == {plain}
