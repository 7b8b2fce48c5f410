"""Heartbeats of drivers and failure records of units.

sessions/<session>/<number>.json       heartbeat: progress and cost of one invocation; the next one
                                       is put before this one is removed
failures/<unit>-<time>-<random>.json   one failure of one unit

`spectro status` reads them; no computation depends on them.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from spectro.storage.checksummed_json import read_sealed, seal, unseal
from spectro.storage.credentials import redacted
from spectro.storage.store import DamagedObjectError, Store

SESSIONS, FAILURES = "sessions", "failures"


@dataclass(frozen=True, kw_only=True)
class StageCount:
    """Progress of one stage in one session."""

    units: int
    """Units of the session."""
    done: int
    cost: float
    """Work of all units, in their own measure of cost."""
    done_cost: float
    """Work done; running units count by their share."""
    seconds: float
    """Worker time in finished units."""


@dataclass(frozen=True, kw_only=True)
class RunningUnit:
    """A unit in progress."""

    unit: str
    """Its id."""
    worker: str
    seconds: float
    """Time since its start."""
    share: float
    """Share done, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """State of one invocation of a driver."""

    session: str
    """Id: time of the start and random letters."""
    number: int
    """Heartbeats before this one."""
    started: float
    """Seconds since the epoch."""
    time: float
    """Of this heartbeat, seconds since the epoch."""
    host: str
    """The driver's machine."""
    process: int
    """The driver's process id."""
    ended: str | None
    """None while it runs; `done`, or why it ended."""
    device: str
    """Device type of its workers."""
    num_workers: int
    """Workers with the model resident now."""
    worker_seconds: float
    """Time of all workers from their start on, idle or not: what is paid for."""
    stages: dict[str, StageCount]
    """By stage, with the part before it: `control: tiles`."""
    running: tuple[RunningUnit, ...] = ()
    lost: int = 0
    """Units lost with their worker."""
    handed_back: int = 0
    """Units returned by a preempted worker."""
    errors: int = 0
    """Failures of units."""
    set_aside: dict[str, str] = field(default_factory=dict)
    """Units given up after repeated failures, with the last message."""
    job: str | None = None
    """The submission that this invocation is an attempt of (`run.job`)."""
    num_starting: int = 0
    """Workers that are being started or wait for a machine."""
    num_gpus: float = 0.0
    """GPUs that workers hold now."""
    gpu_seconds_held: float | None = None
    """GPU time of all workers, from the start of their processes to their end: what is paid for;
    None: of an earlier version, which did not count it."""
    gpu_seconds_worked: float = 0.0
    """Of it, in units, done or not."""
    price_per_gpu_hour: float | None = None
    """As `run.price_per_gpu_hour` says."""
    waiting: str = ""
    """What holds the run up now, in words, such as `no worker for 12:00`; empty: nothing."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Failure record of one unit."""

    unit: str
    """Its id."""
    kind: str
    """How it ended: `failed`, `refused`, `missing`, `crashed` or `preempted`."""
    message: str
    """One line."""
    trace: str
    """The traceback, where there is one."""
    worker: str
    session: str
    """The invocation."""
    time: float
    """Seconds since the epoch."""


class SessionLog:
    """Puts the heartbeats of one session."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: str | None = None
        self.session = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"

    def put(self, heartbeat: Heartbeat) -> None:
        """Put a heartbeat, then remove the previous one."""
        name = f"{SESSIONS}/{self.session}/{heartbeat.number:06d}.json"
        self._store.put(name, seal(redacted(dataclasses.asdict(heartbeat))))
        if self._last is not None:
            self._store.delete(self._last)
        self._last = name


def read_heartbeats(store: Store, names: Iterable[str]) -> list[Heartbeat]:
    """The last heartbeat of every session, oldest session first, among these objects of a run."""
    last: dict[str, str] = {}
    for name in sorted(names):
        parts = name.split("/")
        if len(parts) == 3 and parts[0] == SESSIONS:
            last[parts[1]] = name
    heartbeats = []
    for name in last.values():
        try:
            heartbeats.append(_heartbeat(read_sealed(store, name)))
        except FileNotFoundError:  # its driver has just put the next one
            continue
    return heartbeats


def put_failure(store: Store, failure: Failure) -> None:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(failure.time))
    slug = failure.unit.replace("/", "_")
    name = f"{FAILURES}/{slug}-{stamp}-{secrets.token_hex(3)}.json"
    store.put(name, seal(redacted(dataclasses.asdict(failure))))


def read_failures(store: Store, names: Iterable[str], most: int = 100) -> list[Failure]:
    """The latest failure records, oldest first; damaged ones are left out."""
    chosen = [name for name in names if name.startswith(f"{FAILURES}/")]
    chosen.sort(key=lambda name: name.rsplit("-", 3)[1:3])  # date and time of day
    found = []
    for name, data in store.read_many(chosen[-most:], missing_ok=True):
        with suppress(DamagedObjectError):
            found.append(Failure(**unseal(data, f"{store.uri}/{name}")))
    return sorted(found, key=lambda failure: failure.time)


def _heartbeat(plain: dict[str, Any]) -> Heartbeat:
    plain["stages"] = {name: StageCount(**count) for name, count in plain["stages"].items()}
    plain["running"] = tuple(RunningUnit(**unit) for unit in plain["running"])
    return Heartbeat(**plain)
