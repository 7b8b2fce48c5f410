"""A job on a cluster that scales from zero: who holds GPUs when, and which endings are final.

Machines are simulated, GPUs are names alone (tests/chaos/cluster.py, autoscaler.py); drivers,
workers, Ray and the objects are real.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spectro.formats.sessions import Heartbeat, read_heartbeats
from spectro.storage.store import Store
from tests.chaos.autoscaler import Autoscaler, MachineKind
from tests.chaos.cluster import SimulatedCluster

pytestmark = pytest.mark.slow

LIMIT_SECONDS = 300.0
"""After which a driver that hangs is an error; nothing is asserted about time."""
SETTINGS = (
    "control=false",
    "components=[l1h0,l2h0,l3h0,unembed]",
    "tokens.num_probe_sequences=4",
    "tokens.num_sampling_sequences=4",
    "tokens.sequences_per_shard=8",
    "chain.num_chains=2",
    "chain.num_draws=8",
    "chain.steps_between_draws=2",
    "run.checkpoint_seconds=1",
    "run.beat_seconds=1",
    "run.drain_seconds=30",
    "model.device=cpu",
)
MACHINES = (
    MachineKind(name="cpu", cpus=2, most=1),
    MachineKind(name="gpu", cpus=1, gpus=1, most=3),
)


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """The simulated cluster sets where Ray is in the environment."""
    before = dict(os.environ)
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    os.environ.clear()
    os.environ.update(before)


class Job:
    """The commands of one run on a cluster, and what they left."""

    def __init__(self, folder: Path, cluster: SimulatedCluster) -> None:
        self.store = Store(str(folder / "run"))
        self.autoscaler = Autoscaler(cluster=cluster, kinds=MACHINES)
        self._log = folder / "log"
        self._on_cluster = (
            f"run.ray_address={cluster.address}",
            "run.num_workers=3",
            "run.gpus_per_worker=1",
            "run.cpu_worker_cores=2",
        )

    def start(self, command: str, *more: str) -> subprocess.Popen[str]:
        """A command on the cluster."""
        return self._process(command, *self._on_cluster, *more)

    def run(self, command: str, *more: str) -> int:
        """A command on the cluster, until it ends; its exit status."""
        return self.autoscaler.watch(self.start(command, *more), LIMIT_SECONDS)

    def here(self, command: str, *more: str) -> int:
        """A command on a machine without Ray and GPU."""
        return self._process(command, "run.num_workers=0", *more).wait(LIMIT_SECONDS)

    @property
    def said(self) -> str:
        """What the last command has printed."""
        return self._log.read_text()

    @property
    def beat(self) -> Heartbeat:
        """The last heartbeat of the last driver."""
        return read_heartbeats(self.store, self.store.list("sessions"))[-1]

    def _process(self, command: str, *more: str) -> subprocess.Popen[str]:
        with self._log.open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "jobs.cli", command, f"run.uri={self.store.uri}",
                 *SETTINGS, *more],
                stdout=log, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    with SimulatedCluster() as cluster:
        yield Job(tmp_path, cluster)


def test_gpus_are_held_while_they_can_work_and_only_then(job: Job) -> None:
    assert job.here("tokens") == 0
    assert "binding.json" not in job.store.list()
    machines = job.autoscaler
    seen: list[tuple[int, bool, bool]] = []

    def look() -> None:
        names = job.store.list()
        beats = read_heartbeats(job.store, [n for n in names if n.startswith("sessions/")])
        has_progress = any(n.startswith("chains/") for n in names)
        is_measured = "assembly/summary.json" in names
        held = max((b.num_gpus for b in beats if b.ended is None), default=0.0)
        seen.append((int(held), has_progress, is_measured))

    assert machines.watch(job.start("pipeline"), LIMIT_SECONDS, look) == 0, job.said
    assert max(held for held, has_progress, _ in seen if not has_progress) == 1  # the canary
    assert machines.most("gpu") == 3
    assert seen[-1][2] and seen[-1][0] == 0 == machines.count("gpu")
    assert machines.count("cpu") == 1  # which made the clusters and the page
    assert job.beat.ended == "done" and job.beat.gpu_seconds_held >= job.beat.gpu_seconds_worked > 0
    assert json.loads(job.store.read("binding.json"))["device_type"] == "cpu"


def test_limits_are_final_and_signals_are_not(job: Job) -> None:
    machines = job.autoscaler
    machines.is_closed = True  # a queue that admits nothing yet
    waiting = job.start("sample", "run.idle_minutes=0.05")
    with pytest.raises(TimeoutError):
        machines.watch(waiting, 20.0)
    assert "no CPU worker for" in job.beat.waiting and job.beat.ended is None  # 3 s are over
    machines.is_closed = False
    assert job.run("sample", "run.max_gpu_hours=0.0005") == 3  # less than two seconds
    assert "run.max_gpu_hours reached" in job.said
    assert job.beat.ended is not None and job.beat.ended.startswith("stopped: run.max_gpu_hours")
    before = job.beat.gpu_seconds_held
    assert job.run("sample", "run.max_gpu_hours=0.0005") == 3
    assert job.beat.gpu_seconds_held == 0.0 < before  # known before any GPU was asked for

    driver, asked = job.start("sample"), False

    def evict_the_head() -> None:
        nonlocal asked
        if not asked and job.beat.ended is None and job.beat.running:
            driver.send_signal(signal.SIGTERM)
            asked = True

    assert machines.watch(driver, LIMIT_SECONDS, evict_the_head) == 75
    assert job.run("sample") == 0, job.said
    assert "assembly/summary.json" in job.store.list()


KILLER = """
import importlib, os, signal

real_import = importlib.import_module

def import_module(name, package=None):
    module = real_import(name, package)
    if name == "spectro.measure.chains" and not hasattr(module, "real"):
        module.real, module.run_chains = module.run_chains, run_chains
    return module

def run_chains(unit, *rest):
    if unit.group.name == "unembed":
        os.kill(os.getppid(), signal.SIGKILL)  # the raylet, as the kernel ends a whole pod
        os.kill(os.getpid(), signal.SIGKILL)
    return importlib.import_module("spectro.measure.chains").real(unit, *rest)

importlib.import_module = import_module
"""
"""Of a machine whose memory a unit exceeds."""


def test_a_unit_that_takes_its_machine_with_it_is_set_aside_and_named(
    job: Job, tmp_path: Path
) -> None:
    few = "components=[l1h0,unembed]"
    assert job.here("tokens", few) == 0
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    job.autoscaler.environment = {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    driver = job.start("sample", "run.max_losses=2", few)
    assert job.autoscaler.watch(driver, LIMIT_SECONDS) == 1
    assert "chains/unembed/" in job.said and "machine was lost 2 times" in job.said
