"""An autoscaler of a simulated cluster: machines come when Ray has work for them, and go when idle.

It reads what Ray's own autoscaler reads (pending requests, idle times of machines), so that a
driver that asks for GPUs too early, or keeps them too long, shows in its record.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.chaos.cluster import SimulatedCluster

LOOK_SECONDS = 0.5
DEAD = 2
"""`NodeStatus.DEAD` of Ray's autoscaler messages."""


@dataclass(frozen=True, kw_only=True)
class MachineKind:
    """Machines that may be started."""

    name: str
    cpus: int
    gpus: int = 0
    most: int
    """At once."""

    def fits(self, request: dict[str, float]) -> bool:
        """Whether one machine has what a request asks for."""
        has = {"CPU": self.cpus, "GPU": self.gpus}
        return all(has.get(name, 0) >= amount for name, amount in request.items() if amount)


@dataclass(kw_only=True)
class Autoscaler:
    """Looks when it is asked to: Ray's machines can only be started by the main thread."""

    cluster: SimulatedCluster
    kinds: tuple[MachineKind, ...]
    """The first that fits is started: those without GPUs come first."""
    idle_seconds: float = 2.0
    """A machine that has been idle for so long is taken away."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of the workers of new machines."""
    is_closed: bool = False
    """A queue that admits nothing: no machine comes."""
    record: list[tuple[float, str, int]] = field(default_factory=list)
    """(time, kind, machines of that kind from then on)."""
    _up: list[tuple[MachineKind, Any, float]] = field(default_factory=list)
    _seconds: dict[str, float] = field(default_factory=dict)

    def watch(
        self,
        driver: subprocess.Popen[str],
        limit_seconds: float,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> int:
        """Scale until a process ends; returns its exit status. Raises TimeoutError."""
        until = time.monotonic() + limit_seconds
        while (status := driver.poll()) is None:
            if time.monotonic() > until:
                driver.kill()
                raise TimeoutError(f"the driver did not end within {limit_seconds:.0f} s")
            self.look()
            meanwhile()
            time.sleep(LOOK_SECONDS)
        return status

    def count(self, name: str) -> int:
        """Machines of a kind that are up."""
        return sum(kind.name == name for kind, _, _ in self._up)

    def most(self, name: str) -> int:
        """Machines of a kind that were up at once, at most."""
        return max((n for _, kind, n in self.record if kind == name), default=0)

    def up_seconds(self, name: str) -> float:
        """Time that machines of a kind were up."""
        now = time.monotonic()
        still = sum(now - since for kind, _, since in self._up if kind.name == name)
        return self._seconds.get(name, 0.0) + still

    def kill(self, name: str) -> bool:
        """A machine of a kind dies without notice, one that works if there is any."""
        own = [(kind, m, since) for kind, m, since in self._up if kind.name == name]
        busy = [found for found in own if self.cluster.workers(found[1])]
        if not busy:
            return False
        self._remove(busy[0], kill=True)
        return True

    @cached_property
    def _client(self) -> Any:
        from ray._raylet import GcsClient

        return GcsClient(address=self.cluster.address)

    def look(self) -> None:
        """Start the machines that pending work needs, take away those that have been idle."""
        from ray.autoscaler.v2.sdk import get_cluster_resource_state

        state = get_cluster_resource_state(self._client)
        alive = [node for node in state.node_states if node.status != DEAD]
        idle = {node.node_id.hex(): node.idle_duration_ms / 1000 for node in alive}
        for found in list(self._up):
            _, machine, since = found
            is_old = time.monotonic() - since > self.idle_seconds
            if is_old and idle.get(machine.node_id, 0.0) > self.idle_seconds:
                self._remove(found)
        if self.is_closed:
            return
        for found in list(self._up):  # machines that died by themselves
            if found[1].node_id not in idle and time.monotonic() - found[2] > 30.0:
                self._remove(found)
        free = [
            {name: node.available_resources.get(name, 0.0) for name in ("CPU", "GPU")}
            for node in alive
        ]
        known = set(idle)
        free += [{"CPU": k.cpus, "GPU": k.gpus} for k, m, _ in self._up if m.node_id not in known]
        for pending in state.pending_resource_requests:
            request = dict(pending.request.resources_bundle)
            for _ in range(pending.count):
                if not _place(request, free):
                    self._start(request, free)

    def _start(self, request: dict[str, float], free: list[dict[str, float]]) -> None:
        for kind in self.kinds:
            if kind.fits(request) and self.count(kind.name) < kind.most:
                machine = self.cluster.add(cpus=kind.cpus, gpus=kind.gpus, **self.environment)
                self._up.append((kind, machine, time.monotonic()))
                self._note(kind)
                free.append({"CPU": kind.cpus, "GPU": kind.gpus})
                _place(request, free)
                return

    def _remove(self, found: tuple[MachineKind, Any, float], *, kill: bool = False) -> None:
        kind, machine, since = found
        self._up.remove(found)
        self._seconds[kind.name] = self._seconds.get(kind.name, 0.0) + time.monotonic() - since
        self.cluster.kill_machine(machine)
        self._note(kind)

    def _note(self, kind: MachineKind) -> None:
        self.record.append((time.monotonic(), kind.name, self.count(kind.name)))


def _place(request: dict[str, float], free: list[dict[str, float]]) -> bool:
    """Take a request's resources from the first machine that has them."""
    for machine in free:
        if all(machine.get(name, 0.0) >= amount for name, amount in request.items()):
            for name, amount in request.items():
                machine[name] = machine.get(name, 0.0) - amount
            return True
    return False
