"""All runs below a prefix, from their small objects alone."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from spectro.config import PipelineConfig
from spectro.formats import run_dir
from spectro.formats.clusters.clusters import PROVENANCE
from spectro.formats.product import SUMMARY_NAME
from spectro.formats.run_parts import is_part
from spectro.formats.sessions import read_heartbeats
from spectro.inspect.status import Status, status_of
from spectro.storage.backend import Entry
from spectro.storage.store import Store
from spectro.work.model_info import model_of

READERS = 8
BuildConfig = Callable[[Mapping[str, Any]], PipelineConfig]


@dataclass(frozen=True, kw_only=True)
class CatalogueRow:
    """One run."""

    name: str
    """Path relative to the prefix."""
    settings: dict[str, str]
    """Model, sampler and all other inputs, flat: `chain.num_draws` → `100`."""
    state: str
    """As `Status.state`, or `unreadable`."""
    note: str
    """Why it cannot be read; else the driver's last heartbeat."""
    tokens: int | None
    """Tokens measured."""
    units: str
    """`37/108`."""
    reliability: float | None
    """Median over columns, row-centred."""
    clusters: int | None
    """Clusters found."""
    worker_hours: float
    """Over all sessions."""
    gpu_hours: float
    """GPU-hours held, over all sessions."""
    cost: float | None
    """Price of these; None where none is known."""
    last_seen: float | None
    """Last heartbeat, or else last object; seconds since the epoch."""


def read_catalogue(
    prefix: Store, build: BuildConfig, now: float | None = None
) -> tuple[CatalogueRow, ...]:
    """Every run below a prefix, by name.

    Args:
        prefix: folder or bucket.
        build: makes a configuration of what run.yaml has.
        now: seconds since the epoch; None: this moment.

    One listing of the whole prefix; of each run its run.yaml, summary.json, cluster.json and last
    heartbeats are read. A run that cannot be read is a row that says so.
    """
    now = time.time() if now is None else now
    entries = prefix.entries()
    folders = [n.rpartition("/")[0] for n in entries if n.split("/")[-1] == run_dir.NAME]
    names = sorted(folder for folder in folders if not _in_run(folder, folders))
    by_run: dict[str, dict[str, Entry]] = {name: {} for name in names}
    for name, entry in entries.items():
        folder = name
        while folder:
            folder = folder.rpartition("/")[0]
            if folder in by_run:
                by_run[folder][name[len(folder) + 1 :] if folder else name] = entry
                break

    def row(name: str) -> CatalogueRow:
        return _row(prefix.child(name), name or ".", by_run[name], build, now)

    with ThreadPoolExecutor(READERS, thread_name_prefix="runs") as threads:
        return tuple(threads.map(row, names))


def differing(rows: tuple[CatalogueRow, ...]) -> list[str]:
    """Settings in which the runs differ, in the order of their configuration."""
    names = dict.fromkeys(name for row in rows for name in row.settings)
    return [name for name in names if len({row.settings.get(name) for row in rows}) > 1]


def _row(
    store: Store, name: str, entries: Mapping[str, Entry], build: BuildConfig, now: float
) -> CatalogueRow:
    try:
        file = run_dir.require(store)
        beats = read_heartbeats(store, entries)
        config = build(file.config)
        model = model_of(file, store.uri)
        status = status_of(store, config, model, entries, beats=beats, now=now)
        summary = _json(store, SUMMARY_NAME, entries)
        clusters = _json(store, f"{config.run.clusters}/{PROVENANCE}", entries)
    except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
        return _unreadable(name, " ".join(str(error).split()))
    last = (
        status.beat.time if status.beat else max((e.modified for e in entries.values()), default=0)
    )
    return CatalogueRow(
        name=name,
        settings=_settings(file),
        state=status.state,
        note=status.driver,
        tokens=summary.get("num_tokens"),
        units=_units(status),
        reliability=_median(summary.get("centred_reliability", [])),
        clusters=clusters.get("num_clusters"),
        worker_hours=status.worker_hours,
        gpu_hours=status.gpu_hours,
        cost=status.costs.cost,
        last_seen=last,
    )


def _in_run(folder: str, folders: Collection[str]) -> bool:
    """Whether a folder with a run.yaml is a part of the run above it."""
    above, _, last = folder.rpartition("/")
    return is_part(last) and above in folders


def _unreadable(name: str, why: str) -> CatalogueRow:
    return CatalogueRow(
        name=name, settings={}, state="unreadable", note=why, tokens=None, units="",
        reliability=None, clusters=None, worker_hours=0.0,
        gpu_hours=0.0, cost=None, last_seen=None,
    )  # fmt: skip


def _units(status: Status) -> str:
    return f"{status.done}/{status.units}" if status.tokens_known else f"{status.done}/?"


def _json(store: Store, name: str, entries: Mapping[str, Entry]) -> dict[str, Any]:
    return dict(json.loads(store.read(name))) if name in entries else {}


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.median(known) if known else None


def _settings(file: run_dir.RunFile) -> dict[str, str]:
    """Model and inputs, flat; digests left out."""
    model = file.config.get("model", {})
    named = {"model": {"name": model.get("name_or_path"), "revision": model.get("revision")}}
    inputs = {key: value for key, value in file.inputs.items() if key != "model_weights"}
    return dict(_flat(named, "")) | dict(_flat(inputs, ""))


def _flat(value: Any, name: str) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [
            pair for key, item in value.items() for pair in _flat(item, f"{name}.{key}".lstrip("."))
        ]
    return [(name, str(value))]
