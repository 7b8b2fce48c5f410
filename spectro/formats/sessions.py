"""What drivers leave of themselves: beats while they live, failures of units.

sessions/<session>/<number>.json   a beat: how far this invocation is, what it has cost; each new
                                   one is put before the last one is removed
failures/<unit>-<time>-<random>.json   one failure of one unit

Anyone who can read the storage can follow a run by them (`spectro status`), and nothing depends on
them: a run whose beats are lost goes on from its units alone.
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
    """How far one stage of one session is."""

    units: int
    """Units that the session has to do."""
    done: int
    """Units done by it."""
    cost: float
    """Their work, in the units' own reckoning."""
    done_cost: float
    """Work done; running units count by their share."""
    seconds: float
    """Workers' time in its finished units."""


@dataclass(frozen=True, kw_only=True)
class RunningUnit:
    """A unit that is being done."""

    unit: str
    """Its id."""
    worker: str
    """Who does it."""
    seconds: float
    """Since when."""
    share: float
    """Share done, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """State of one invocation of a driver."""

    session: str
    """Its id: the time of its start, and random letters."""
    number: int
    """Beats before this one."""
    started: float
    """Seconds since the epoch."""
    time: float
    """Of this beat, seconds since the epoch."""
    host: str
    """Name of the driver's machine."""
    process: int
    """The driver's process id."""
    ended: str | None
    """None while it goes on; `done`, or why it ended."""
    device: str
    """Device type of its workers."""
    num_workers: int
    """Workers with the model resident now."""
    worker_seconds: float
    """Time of all its workers from their start on, idle or not: what is paid for."""
    stages: dict[str, StageCount]
    """By stage, with the part before it: `control: tiles`."""
    running: tuple[RunningUnit, ...] = ()
    """Units being done."""
    lost: int = 0
    """Units whose worker died under them."""
    handed_back: int = 0
    """Units that their worker gave back, having been told to leave."""
    errors: int = 0
    """Units that failed, each failure counted."""
    set_aside: dict[str, str] = field(default_factory=dict)
    """Units given up after repeated failure, with the last message."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One failure of one unit."""

    unit: str
    """Its id."""
    kind: str
    """How it ended: `failed`, `refused`, `missing`, `crashed` or `preempted`."""
    message: str
    """One line."""
    trace: str
    """The traceback, where there is one."""
    worker: str
    """Whose."""
    session: str
    """In which invocation."""
    time: float
    """Seconds since the epoch."""


class SessionLog:
    """Puts the beats of one session."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: str | None = None
        self.session = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"

    def put(self, beat: Heartbeat) -> None:
        """Put a beat; the one before is removed after it."""
        name = f"{SESSIONS}/{self.session}/{beat.number:06d}.json"
        self._store.put(name, seal(redacted(dataclasses.asdict(beat))))
        if self._last is not None:
            self._store.delete(self._last)
        self._last = name


def read_heartbeats(store: Store, names: Iterable[str]) -> list[Heartbeat]:
    """The last beat of every session, the oldest session first.

    Args:
        store: of the run.
        names: objects that are there (`Store.list`).
    """
    last: dict[str, str] = {}
    for name in sorted(names):
        parts = name.split("/")
        if len(parts) == 3 and parts[0] == SESSIONS:
            last[parts[1]] = name
    beats = []
    for name in last.values():
        try:
            beats.append(_beat(read_sealed(store, name)))
        except FileNotFoundError:  # its driver has just put the next one
            continue
    return beats


def put_failure(store: Store, failure: Failure) -> None:
    """Put a failure."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(failure.time))
    slug = failure.unit.replace("/", "_")
    name = f"{FAILURES}/{slug}-{stamp}-{secrets.token_hex(3)}.json"
    store.put(name, seal(redacted(dataclasses.asdict(failure))))


def read_failures(store: Store, names: Iterable[str], most: int = 100) -> list[Failure]:
    """The last failures that are told of, the oldest of them first; damaged ones are left out."""
    chosen = [name for name in names if name.startswith(f"{FAILURES}/")]
    chosen.sort(key=lambda name: name.rsplit("-", 3)[1:3])  # date and time of day
    found = []
    for name, data in store.read_many(chosen[-most:], missing_ok=True):
        with suppress(DamagedObjectError):
            found.append(Failure(**unseal(data, f"{store.uri}/{name}")))
    return sorted(found, key=lambda failure: failure.time)


def _beat(plain: dict[str, Any]) -> Heartbeat:
    plain["stages"] = {name: StageCount(**count) for name, count in plain["stages"].items()}
    plain["running"] = tuple(RunningUnit(**unit) for unit in plain["running"])
    return Heartbeat(**plain)
