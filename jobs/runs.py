"""A table of all runs below a prefix: model, sampler, the settings in which they differ, tokens,
state, units done, reliability (median over columns, row-centred), clusters, worker-hours,
GPU-hours and what they cost, last heartbeat.

Reads small objects alone.

  spectro runs
  spectro runs s3://bucket/sweep runs.format=csv > sweep.csv
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from spectro.config import PipelineConfig
from spectro.inspect.catalogue import CatalogueRow, differing, read_catalogue
from spectro.storage.locations import resolve_location
from spectro.storage.store import Store
from spectro.tokens.display.terminal_text import plain_string

from .command import Command
from .output import number, print_json, show, table
from .schema import validated

ALWAYS = ("model.name", "sampler.kind")
"""Settings that are shown even where all runs agree."""


class RunsFormat(Enum):
    """Output format."""

    TABLE = "table"
    """For people."""
    JSON = "json"
    """A list of objects, with all settings."""
    CSV = "csv"
    """The table's columns."""


@dataclass(frozen=True, kw_only=True)
class RunsConfig:
    """Which runs, and how they are printed."""

    root: str = "runs"
    """Folder or URI below which runs are looked for."""
    format: RunsFormat = RunsFormat.TABLE
    """Output format; JSON has all settings."""

    def __post_init__(self) -> None:
        resolve_location(self.root, "runs.root")


@dataclass(frozen=True, kw_only=True)
class RunsJob:
    """Settings of `spectro runs`."""

    runs: RunsConfig = field(default_factory=RunsConfig)
    """Which runs."""


def _runs(job: RunsJob) -> None:
    rows = read_catalogue(Store(job.runs.root), _config)
    if not rows:
        raise ValueError(f"no run lies below runs.root={job.runs.root}: it has no run.yaml")
    if job.runs.format is RunsFormat.JSON:
        print_json(rows)
        return
    header, body = columns(rows)
    if job.runs.format is RunsFormat.CSV:
        csv.writer(sys.stdout).writerows([header, *body])
        return
    title = f"{len(rows)} runs below {plain_string(job.runs.root)}"
    cells = [[plain_string(cell) for cell in line] for line in body]
    show(table(title, header, cells, left=header), min_width=160)


COMMAND = Command(
    name="runs", config=RunsJob, run=_runs,
    usage="[<folder or URI>] [runs.format=table|json|csv]", positional=("runs.root",),
)  # fmt: skip
main = COMMAND.main


def _config(plain: Mapping[str, Any]) -> PipelineConfig:
    return validated(PipelineConfig, dict(plain))


def columns(rows: tuple[CatalogueRow, ...]) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the table; settings in which the runs differ have a column each."""
    settings = [*ALWAYS, *(name for name in differing(rows) if name not in ALWAYS)]
    header = [
        "run", *settings, "tokens", "state", "units", "reliability", "clusters", "worker-hours",
        "GPU-hours", "cost", "last seen", "note",
    ]  # fmt: skip
    body = [
        [
            row.name,
            *(row.settings.get(name, "") for name in settings),
            "" if row.tokens is None else str(row.tokens),
            row.state,
            row.units,
            "" if row.reliability is None else number(row.reliability),
            "" if row.clusters is None else str(row.clusters),
            f"{row.worker_hours:.2f}",
            f"{row.gpu_hours:.2f}",
            "" if row.cost is None else f"{row.cost:.2f}",
            _time(row.last_seen),
            row.note if row.state in ("unreadable", "failed") else "",
        ]
        for row in rows
    ]
    return header, body


def _time(seconds: float | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


if __name__ == "__main__":
    raise SystemExit(main())
