"""`spectro map <run> [map.key=value ...] [export=<folder>] [serve=<port>]`: the viewer folder."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

from rich.console import Console

from jobs.launch import launch
from jobs.look import StoredRun
from jobs.stored import is_given, stored_config
from spectro.storage.credentials import refuse_credentials
from spectro.storage.store import Store
from spectro.views.map.config import MapConfig
from spectro.views.map.serve import served
from spectro.views.map.write import WrittenMap, copy_map, settings_there, write_map
from spectro.views.run_view import RunView
from spectro.work.progress import Progress

LARGEST_PORT = 65_535


@dataclass(frozen=True, kw_only=True)
class MapJob:
    """Which run, what its map shows, and where it goes."""

    run: StoredRun
    """Run with clusters, a part of one, or a folder of clusters."""
    map: MapConfig = field(default_factory=MapConfig)
    """What is drawn, and how."""
    export: str | None = None
    """Folder that the map is written to; None: beside the clusters, in the run's own storage."""
    serve: int | None = None
    """Port of 127.0.0.1 at which it is then served until Ctrl-C, 0 for any; None: not at all."""
    renew: bool = False
    """Make it again although it is there and was made from the same."""

    def __post_init__(self) -> None:
        refuse_credentials(self.export or "", "export")
        if self.serve is not None and not 0 <= self.serve <= LARGEST_PORT:
            raise ValueError(f"serve must be a port, 0 to {LARGEST_PORT}, found {self.serve}")


def main() -> int:
    """Compose, make the map; returns the exit status."""
    return launch("map", "map_job", MapJob, _map)


def _map(job: MapJob) -> None:
    console = Console(soft_wrap=True)
    view, target = RunView(job.run.uri), None if job.export is None else Store(job.export)
    with Progress(console) as progress:
        progress.add("map", 1.0)
        made = write_map(
            view, _settings(job, view, target), target, renew=job.renew,
            run=stored_config(view.root.uri),
            on_progress=lambda done, total: progress.update("map", 0.9 * done / max(1.0, total)),
        )  # fmt: skip
        progress.update("map", 1.0)
    for line in lines(made, job):
        console.print(line, highlight=False, markup=False)
    if job.serve is not None:
        _serve(console, made.store, job.serve)


def _settings(job: MapJob, view: RunView, target: Store | None) -> MapConfig:
    """Those of the map that is there, unless the command line has some: looking changes nothing."""
    given = is_given("map", but=("map.device",))  # which changes no byte
    there = None if given else settings_there(view, target)
    return job.map if there is None else replace(there, device=job.map.device)


def lines(made: WrittenMap, job: MapJob) -> list[str]:
    """Where the map lies, what it has, and how to look at it."""
    marker, store = made.marker, made.store
    place = str(Path(store.root).resolve()) if store.is_local else store.uri
    drawn, total = marker["tokens"]["count"], marker["tokens"]["total"]
    tokens = f"{drawn:,}" if drawn == total else f"{drawn:,} of {total:,}"
    there = " (was there)" if made.was_there else ""
    found = [
        f"map: {place}{there}",
        f"{marker['clusters']['count']:,} clusters and {tokens} tokens in "
        f"{made.num_objects} files, "
        f"{made.size_bytes / 1e6:.1f} MB",
        *_of_control(marker),
    ]
    if job.serve is None:
        again = f"spectro map {job.run.uri}" + (f" export={job.export}" if job.export else "")
        found.append(f"look at it: {again} serve=0, or put the folder on any static server")
    return found


def _of_control(marker: Mapping[str, Any]) -> list[str]:
    """What there is of the nβ = 0 control; nothing where the run is one itself."""
    control = marker["control"]
    if marker["is_control"]:
        return []
    if control is None:
        return [
            "no nβ = 0 control beside it: none was run, or it has no clusters of this name; "
            "spectro pipeline with control=true makes both"
        ]
    number = f"nβ = 0 control: {control['clusters']:,} clusters"
    return [f"{number}, a map of their own in the same folder" if "map" in control
            else f"{number}, not drawn"]  # fmt: skip


def _serve(console: Console, store: Store, port: int) -> None:
    """Until Ctrl-C; what is not on this machine is copied to a temporary folder first."""
    with tempfile.TemporaryDirectory(prefix="spectro-map-") as scratch:
        local = store if store.is_local else copy_map(store, Store(scratch)).store
        with served(local.root, port) as address:
            try:
                console.print(f"look at it: {address} (until Ctrl-C)", highlight=False)
                Event().wait()
            except KeyboardInterrupt:
                console.print("stopped", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
