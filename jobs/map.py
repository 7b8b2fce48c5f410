"""The cluster map of a run with clusters: a folder of a page and its data, <run>/map, which any
static server or object store can host and which asks nothing of any other.

Clusters and tokens lie where UMAP puts them, like beside like; regions are groups of clusters,
outlined and named by their most distinctive tokens. Browsers read no data from a disk, so the page
needs a server: serve=0 is one, on this machine alone, until Ctrl-C. An existing map that was made
from the same is left as it is; without any map.* setting it is taken as it was made, while clusters
and tokens are the same. Where the nβ = 0 control has clusters, theirs is a second map in the same
folder, one click away. Tokens that were added later are where their χ puts them, and in the
clusters that spectro assign gave them.

  spectro map runs/demo serve=0                     make it and look at it
  spectro map runs/demo export=site                 into a folder instead, to be put anywhere
  spectro map runs/demo map.max_tokens=null         every token, not a sample
  spectro map runs/demo map.control=false           without the control's map
  spectro map runs/demo/clusters-k30                of other clusters, into <run>/map-k30
  spectro map s3://bucket/run map.device=cuda       of a run on S3, on a GPU
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from spectro.storage.credentials import refuse_credentials
from spectro.storage.store import Store
from spectro.views.map.config import MapConfig

from .command import Command, is_given
from .output import say
from .progress import progress
from .reading import StoredRun

if TYPE_CHECKING:  # loads scipy and numba
    from spectro.config import PipelineConfig
    from spectro.views.map.write import WrittenMap
    from spectro.views.run_view import RunView

logger = logging.getLogger(__name__)
LARGEST_PORT = 65_535


@dataclass(frozen=True, kw_only=True)
class MapJob:
    """Settings of `spectro map`."""

    run: StoredRun = field(default_factory=StoredRun)
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


def _map(job: MapJob) -> None:
    from spectro.views.map.write import write_map  # not for --help
    from spectro.views.run_view import RunView

    view, target = RunView(job.run.uri), None if job.export is None else Store(job.export)
    with progress("map") as update:
        made = write_map(
            view, _settings(job, view, target), target, renew=job.renew,
            run=_config_of(view),
            on_progress=lambda done, total: update(0.9 * done, max(1.0, total)),
        )  # fmt: skip
    say(*lines(made, job))
    if job.serve is not None:
        _serve(made.store, job.serve)


COMMAND = Command(
    name="map", config=MapJob, run=_map, positional=("run.uri",),
    usage="<run> [map.key=value ...] [export=<folder>] [serve=<port>]",
)  # fmt: skip
main = COMMAND.main


def _config_of(view: RunView) -> PipelineConfig | None:
    """Configuration of the run, for its records; None if this version cannot read it."""
    from .stored import stored_config  # as above

    try:
        return stored_config(view.root.uri)
    except ValueError as error:
        logger.warning("the map has no records of the run: %s", error)
        return None


def _settings(job: MapJob, view: RunView, target: Store | None) -> MapConfig:
    """Those of the map that is there, unless the command line has some: looking changes nothing."""
    from spectro.views.map.write import settings_there  # as above

    given = is_given("map", but=("map.device",))  # which changes no byte
    there = None if given else settings_there(view, target)
    return job.map if there is None else replace(there, device=job.map.device)


def lines(made: WrittenMap, job: MapJob) -> list[str]:
    """Place of the map, what it has, and how to look at it."""
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


def _serve(store: Store, port: int) -> None:
    """Until Ctrl-C; what is not on this machine is copied to a temporary folder first."""
    from spectro.views.map.serve import served  # as above
    from spectro.views.map.write import copy_map

    with tempfile.TemporaryDirectory(prefix="spectro-map-") as scratch:
        local = store if store.is_local else copy_map(store, Store(scratch)).store
        with served(local.root, port) as address:
            try:
                say(f"look at it: {address} (until Ctrl-C)")
                Event().wait()
            except KeyboardInterrupt:
                say("stopped")


if __name__ == "__main__":
    raise SystemExit(main())
