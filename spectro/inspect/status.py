"""Progress of a run, from storage alone: one listing, its heartbeats and failures, no large object.

The objects that exist say what is done, so this is right without any heartbeat; heartbeats add the
workers, what they work on, and worker-hours.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from spectro.config import PipelineConfig
from spectro.formats import run_dir
from spectro.formats.sessions import Failure, Heartbeat, read_failures, read_heartbeats
from spectro.inspect.run_costs import RunCosts, run_costs
from spectro.pipeline.expected import Expected, expected_units
from spectro.pipeline.stages import STAGES
from spectro.storage.backend import Entry
from spectro.storage.store import Store
from spectro.work.model_info import ModelInfo, model_of
from spectro.work.registry import StageRegistry
from spectro.work.units import Unit, label

SILENT_SECONDS = 120.0
"""Without a heartbeat for so long, a driver is probably dead."""
NUM_FAILURES = 5
"""Failures that are shown, the last ones."""


@dataclass(frozen=True, kw_only=True)
class StageStatus:
    """One stage of one part."""

    units: int
    """Units in all."""
    done: int
    """Those that are done."""
    left_seconds: float | None
    """Time left at the pace of this session, 0.0 when done; None while there is no pace yet."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """State of a run."""

    uri: str
    """URI of the run."""
    state: str
    """`done`, `measured` (no clusters or page), `running`, `stopped` or `failed`."""
    driver: str
    """Its last heartbeat, as a sentence."""
    stages: dict[str, StageStatus]
    """By stage, with the part before it: `control: tiles`."""
    tokens_known: bool
    """Whether the tokens exist, from which the number of units follows."""
    units_per_hour: float | None
    """Units done per hour in this session."""
    left_seconds: float | None
    """Time left, None where a stage has not shown its pace yet."""
    worker_hours: float
    """Over all sessions; idle time included."""
    gpu_hours: float
    """GPU-hours held, over all sessions."""
    costs: RunCosts
    """Of GPUs, so far and expected, and what is left of the run's limits."""
    waiting: str
    """What holds a running run up, in words; empty: nothing."""
    beat: Heartbeat | None
    """Last heartbeat of the last session."""
    failures: tuple[Failure, ...]
    """Last failures."""

    @property
    def units(self) -> int:
        """Units in all, as far as known."""
        return sum(stage.units for stage in self.stages.values())

    @property
    def done(self) -> int:
        """Units done."""
        return sum(stage.done for stage in self.stages.values())


def read_status(
    store: Store,
    config: PipelineConfig,
    now: float | None = None,
    stages: StageRegistry = STAGES,
) -> Status:
    """State of a run; `now` in seconds since the epoch, None: this moment.

    Raises ValueError, in one line, if the folder is not that of a run.
    """
    now = time.time() if now is None else now
    model = model_of(run_dir.require(store), store.uri)
    entries = store.entries()
    beats = read_heartbeats(store, entries)
    return status_of(
        store,
        config,
        model,
        entries,
        beats=beats,
        failures=tuple(read_failures(store, entries, NUM_FAILURES)),
        now=now,
        stages=stages,
    )


def status_of(
    store: Store,
    config: PipelineConfig,
    model: ModelInfo,
    entries: Mapping[str, Entry],
    *,
    beats: list[Heartbeat],
    failures: tuple[Failure, ...] = (),
    now: float,
    stages: StageRegistry = STAGES,
) -> Status:
    """The same from what has been read already."""
    expected = expected_units(store, config, model, entries, stages)
    beat = max(beats, key=lambda b: b.time, default=None)
    since = beat.started if beat is not None else 0.0
    finished = {
        unit.id: _finished(unit, entries) for unit in expected.units if unit.is_done(entries)
    }
    by_stage = _stages(expected.units, finished, since)
    known = expected.num_shards is not None
    left_seconds = _sum_known(stage.left_seconds for stage in by_stage.values()) if known else None
    on_gpus = {label(unit) for unit in expected.units if unit.needs_model}
    gpu_left = _sum_known(s.left_seconds for n, s in by_stage.items() if n in on_gpus)
    costs = run_costs(beats, config.run, gpu_left if known else None, now)
    return Status(
        uri=store.uri,
        state=_state(expected, entries, beat, now, stages),
        driver=driver_line(beat, now),
        stages=by_stage,
        tokens_known=known,
        units_per_hour=_per_hour([t for t in finished.values() if t >= since], since),
        left_seconds=left_seconds,
        worker_hours=sum(b.worker_seconds for b in beats) / 3600,
        gpu_hours=costs.gpu_hours_held,
        costs=costs,
        waiting=beat.waiting if beat is not None and beat.ended is None else "",
        beat=beat,
        failures=failures,
    )


def driver_line(beat: Heartbeat | None, now: float) -> str:
    """The driver's last heartbeat, as a sentence."""
    if beat is None:
        return "no driver has left a sign"
    where, ago = f"on host {beat.host} (process {beat.process})", _ago(now - beat.time)
    if beat.ended is not None:
        return f"driver {where} ended {ago} ago: {beat.ended}"
    if now - beat.time <= SILENT_SECONDS:
        return f"driver last seen {ago} ago {where}"
    return (
        f"no sign of the driver {where} for {ago}: it is probably dead; "
        "the same command resumes the run"
    )


def _state(
    expected: Expected,
    present: Collection[str],
    beat: Heartbeat | None,
    now: float,
    stages: StageRegistry,
) -> str:
    undone = expected.undone(present)
    if beat is not None and beat.ended is None and now - beat.time <= SILENT_SECONDS:
        return "running"
    if expected.num_shards is not None and not undone:
        return "done"
    if beat is not None and (beat.set_aside or (beat.ended or "").startswith("failed")):
        return "failed"
    is_measuring = any(stages.measures(unit) for unit in undone)
    return "stopped" if is_measuring or expected.num_shards is None else "measured"


def _finished(unit: Unit, entries: Mapping[str, Entry]) -> float:
    """When a unit's last object, or the last of those that superseded it, was put."""
    names = [name for there in unit.sources_of(entries).values() for name in there]
    return max((entries[name].modified for name in names), default=0.0)


def _stages(
    units: Collection[Unit], finished: Mapping[str, float], since: float
) -> dict[str, StageStatus]:
    by_label: dict[str, list[Unit]] = {}
    for unit in units:
        by_label.setdefault(label(unit), []).append(unit)
    return {
        name: StageStatus(
            units=len(own),
            done=sum(unit.id in finished for unit in own),
            left_seconds=_left(own, finished, since),
        )
        for name, own in sorted(by_label.items(), key=lambda item: ":" in item[0])
    }


def _left(units: list[Unit], finished: Mapping[str, float], since: float) -> float | None:
    """Remaining work over the pace of this session, between its first and last unit."""
    rest = sum(unit.cost for unit in units if unit.id not in finished)
    if not rest:
        return 0.0
    done = sorted(
        (finished[unit.id], unit.cost) for unit in units if finished.get(unit.id, -1.0) >= since
    )
    if len(done) < 2 or done[-1][0] <= done[0][0]:
        return None
    work = sum(cost for _, cost in done[1:])  # the first one's work lies before its end
    return rest * (done[-1][0] - done[0][0]) / work


def _sum_known(values: Iterable[float | None]) -> float | None:
    """The sum; None where one is not known."""
    found = list(values)
    return None if None in found else sum(value for value in found if value is not None)


def _per_hour(times: list[float], since: float) -> float | None:
    if len(times) < 2:
        return None
    start = since if since else min(times)
    span = max(times) - start
    count = len(times) if since else len(times) - 1
    return count * 3600 / span if span > 0 else None


def _ago(seconds: float) -> str:
    """`12 s`, `14 min`, `3.2 h`, `5.0 days`."""
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36 * 3600 else f"{seconds / 86400:.1f} days"
