"""The blows of a soak: who is hit, when, and how what was lost is replaced."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.chaos.cluster import SimulatedCluster
from tests.servers.seaweed import Seaweed

if TYPE_CHECKING:
    from tests.chaos.soak import Soak

WEIGHTS = {
    "worker": 40,
    "machine": 10,
    "raylet": 10,
    "notice": 8,
    "driver": 12,
    "driver_told": 6,
    "second_driver": 6,
    "server": 8,
}
"""How often each blow is chosen."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How quickly blow follows blow, in seconds."""

    pause: float = 6.0
    """From blow to blow while the run goes on, at most."""
    patience: float = 30.0
    """A blow waits for the run to go on, but not longer."""
    late: float = 10.0
    """A lost machine is replaced so much later, at most."""
    notice: float = 20.0
    """From the notice of an eviction to the eviction."""


@dataclass
class Blows:
    """Who is hit when."""

    soak: Soak
    cluster: SimulatedCluster
    server: Seaweed
    environment: dict[str, str]

    def __post_init__(self) -> None:
        self.left = self.soak.kills
        self._driver: subprocess.Popen[bytes] | None = None
        self._second: subprocess.Popen[bytes] | None = None
        self._last, self._starts_then = time.monotonic(), 0
        self._pause = 5.0
        self._coming: list[float] = []

    def driver(self) -> subprocess.Popen[bytes]:
        """The driver; started again where it has ended and blows are left, or it was not done."""
        if self._driver is not None and self._driver.poll() == 0 and self.left > 0:
            self.soak.report.blows["over_early"] = self.left  # the run was too short for them all
            self.left = 0
        if self._driver is None or self._driver.poll() not in (None, 0):
            address = self.cluster.address
            extra = [f"run.ray_address={address}", f"run.num_workers={self.soak.machines}"]
            self._driver = self.soak.start_driver(self.environment, extra)
        return self._driver

    def is_time(self) -> bool:
        """Whether the run has gone on since the last blow, or that takes too long."""
        since = time.monotonic() - self._last
        went_on = since >= self._pause and self._num_starts() > self._starts_then
        return went_on or since >= self.soak.pace.patience

    def strike(self) -> None:
        """One blow."""
        done = self.soak.kills - self.left
        drawn = self.soak.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        kind = self.soak.order[done] if done < len(self.soak.order) else drawn
        if not self._blow(kind):
            return
        self.left -= 1
        self.soak.report.blows[kind] += 1
        self._last, self._starts_then = time.monotonic(), self._num_starts()
        self._pause = self.soak.random.uniform(0.0, self.soak.pace.pause)
        print(f"blow {self.soak.kills - self.left}: {kind}", flush=True)

    def reinforce(self) -> None:
        """Machines that were lost are replaced, late; a second driver does not stay."""
        now = time.monotonic()
        self.cluster.take_away()
        for when in [when for when in self._coming if when <= now]:
            self._coming.remove(when)
            self.cluster.add()
        if self._second is not None and now - self._second_since > 25:
            _end(self._second)
            self._second = None

    def end(self) -> None:
        """No driver is left running."""
        for process in (self._driver, self._second):
            if process is not None:
                _end(process)

    def _num_starts(self) -> int:
        logs = sorted(self.soak.folder.glob("driver-*.log"))
        return sum(len(started(log.read_text())) for log in logs)

    def _machine_of_choice(self) -> Any:
        return self.soak.random.choice(self.cluster.machines)

    def _lose(self, how: Callable[[Any], None]) -> bool:
        """A machine goes; another one comes, later."""
        if not self.cluster.machines:
            return False
        how(self._machine_of_choice())
        self._coming.append(time.monotonic() + self.soak.random.uniform(0.0, self.soak.pace.late))
        return True

    def _blow(self, kind: str) -> bool:
        """Deal it; False if there was nobody to hit."""
        cluster = self.cluster
        match kind:
            case "worker":
                return bool(cluster.machines) and cluster.kill_worker(self._machine_of_choice())
            case "machine":
                return self._lose(cluster.kill_machine)
            case "raylet":
                return self._lose(cluster.kill_raylet)
            case "notice":
                seconds = self.soak.pace.notice
                return self._lose(lambda machine: cluster.give_notice(machine, seconds=seconds))
            case "driver":
                return self._signal_driver(signal.SIGKILL)
            case "driver_told":
                return self._signal_driver(signal.SIGTERM)
            case "second_driver":
                return self._start_second()
        assert kind == "server"
        self.server.kill()
        time.sleep(self.soak.random.uniform(0.0, 5.0))
        self.server.start()
        return True

    def _signal_driver(self, number: int) -> bool:
        assert self._driver is not None
        self._driver.send_signal(number)
        self._driver.wait(120)
        return True

    def _start_second(self) -> bool:
        if self._second is not None:
            return False
        self._second = self.soak.start_driver(self.environment, ["run.num_workers=0"])
        self._second_since = time.monotonic()
        return True


def started(log: str) -> list[str]:
    """Units that a driver gave out."""
    return re.findall(r"unit (\S+) starts", log)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
