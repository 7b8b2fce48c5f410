"""A Ray cluster of several machines on this one, whose parts can be killed.

Machines are `ray.cluster_utils` nodes: a raylet and its agents each, in processes of their own.
Only processes that were started here are ever ended, by their ids.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HEALTH = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback: Ray would look for a reachable address
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
}
"""A dead machine is noticed within some seconds instead of a quarter of a minute."""


class SimulatedCluster:
    """A head without room for work, and machines with room for one worker each.

    Their GPUs are names alone: Ray reserves them, nobody computes on them.
    """

    def __init__(self, num_machines: int = 0) -> None:
        self._folder = tempfile.mkdtemp(prefix="chaos-", dir="/tmp")  # socket paths must be short
        os.environ.update(HEALTH | {"RAY_TMPDIR": self._folder})
        (Path(self._folder) / "ray").mkdir()
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(
            initialize_head=True,
            connect=False,
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": False,
                "node_ip_address": "127.0.0.1",
                "object_store_memory": 80_000_000,
            },
        )
        self.machines: list[Any] = []
        self._evicted: list[tuple[float, Any]] = []
        self._seen: set[int] = set()
        for _ in range(num_machines):
            self.add()

    @property
    def address(self) -> str:
        """Where drivers join."""
        return str(self._cluster.address)

    def add(self, *, cpus: int = 1, gpus: int = 0, **environment: str) -> Any:
        """A machine joins, with these variables in the environment of its workers."""
        machine = self._cluster.add_node(
            wait=False,
            num_cpus=cpus,
            num_gpus=gpus,
            object_store_memory=80_000_000,
            node_ip_address="127.0.0.1",
            env_vars=environment or None,
        )
        self.machines.append(machine)
        return machine

    def workers(self, machine: Any) -> list[int]:
        """Process ids of a machine's workers that keep the model."""
        found = [p for p in _children(_raylet(machine)) if "ray::ProcessWorker" in _command(p)]
        self._seen.update(found)
        return found

    def kill_worker(self, machine: Any) -> bool:
        """SIGKILL of a worker; False if the machine has none."""
        workers = self.workers(machine)
        for process in workers[:1]:
            _kill(process)
        return bool(workers)

    def kill_raylet(self, machine: Any) -> None:
        """SIGKILL of the raylet alone: its workers may go on for a while, beside new ones."""
        self.workers(machine)
        _kill(_raylet(machine))
        self.machines.remove(machine)

    def kill_machine(self, machine: Any) -> None:
        """SIGKILL of everything at once, as a power cut does."""
        self.machines.remove(machine)
        self._end(machine)

    def _end(self, machine: Any) -> None:
        workers = self.workers(machine)
        _kill(_raylet(machine))
        for process in workers:
            _kill(process)
        with contextlib.suppress(Exception):  # its other processes may have gone by themselves
            self._cluster.remove_node(machine, allow_graceful=False)

    def give_notice(self, machine: Any, seconds: float) -> None:
        """Say that a machine will be taken away, as a cloud does before it evicts."""
        from ray._raylet import GcsClient
        from ray.core.generated import autoscaler_pb2

        client = GcsClient(address=self.address)
        deadline = int((time.time() + seconds) * 1000)
        reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        accepted, why = client.drain_node(machine.node_id, reason, "evicted", deadline)
        assert accepted, why
        self.workers(machine)
        self.machines.remove(machine)
        self._evicted.append((time.monotonic() + seconds, machine))

    def take_away(self) -> None:
        """End the machines whose notice is over."""
        now = time.monotonic()
        for when, machine in [found for found in self._evicted if found[0] <= now]:
            self._evicted.remove((when, machine))
            self._end(machine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for machine in self.machines:
            self.workers(machine)
        with contextlib.suppress(Exception):
            self._cluster.shutdown()
        for process in self._seen:
            if "ray::" in _command(process):
                _kill(process)
        shutil.rmtree(self._folder, ignore_errors=True)


def _raylet(machine: Any) -> int:
    return int(machine.all_processes["raylet"][0].process.pid)


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    found.append(int(entry.name))
    return found


def _command(process: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
