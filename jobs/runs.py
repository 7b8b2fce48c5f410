"""`spectro runs runs.root=<folder or s3://bucket/prefix>`: a table of all runs below a prefix."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.launch import launch, validated
from spectro.config import PipelineConfig
from spectro.inspect.catalogue import CatalogueRow, differing, read_catalogue
from spectro.storage.locations import resolve_location
from spectro.storage.store import Store
from spectro.tokens.display.terminal_text import plain_string

LEAST_WIDTH = 160
ALWAYS = ("model.name", "sampler.kind")
"""Settings that are shown even where all runs agree."""


class RunsFormat(Enum):
    """How it is told."""

    TABLE = "table"
    """For people."""
    JSON = "json"
    """A list of objects, with all settings."""
    CSV = "csv"
    """The table's columns."""


@dataclass(frozen=True, kw_only=True)
class RunsConfig:
    """Which runs, and how they are told."""

    root: str = "runs"
    """Folder or URI below which runs are looked for."""
    format: RunsFormat = RunsFormat.TABLE
    """`table`, `json` or `csv`."""

    def __post_init__(self) -> None:
        resolve_location(self.root, "runs.root")


@dataclass(frozen=True, kw_only=True)
class RunsJob:
    """Which runs."""

    runs: RunsConfig = field(default_factory=RunsConfig)
    """Where they are, and how they are told."""


def main() -> int:
    """Compose, tell; returns the exit status."""
    return launch("runs", "runs_job", RunsJob, _runs)


def _runs(job: RunsJob) -> None:
    rows = read_catalogue(Store(job.runs.root), _config)
    if not rows:
        raise ValueError(f"no run lies below runs.root={job.runs.root}: it has no run.yaml")
    if job.runs.format is RunsFormat.JSON:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=1, ensure_ascii=False))
        return
    header, body = columns(rows)
    if job.runs.format is RunsFormat.CSV:
        csv.writer(sys.stdout).writerows([header, *body])
        return
    title = Text(f"{len(rows)} runs below {plain_string(job.runs.root)}")
    table = Table(title=title, title_justify="left")
    for name in header:
        table.add_column(name, overflow="fold")
    for line in body:
        table.add_row(*(Text(plain_string(cell)) for cell in line))
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(LEAST_WIDTH, console.width))
    console.print(table)


def _config(plain: Mapping[str, Any]) -> PipelineConfig:
    return validated(PipelineConfig, OmegaConf.create(dict(plain)))


def columns(rows: tuple[CatalogueRow, ...]) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the table; settings in which the runs differ have a column each."""
    settings = [*ALWAYS, *(name for name in differing(rows) if name not in ALWAYS)]
    header = [
        "run", *settings, "tokens", "state", "units", "reliability", "clusters", "worker-hours",
        "last seen", "note",
    ]  # fmt: skip
    body = [
        [
            row.name,
            *(row.settings.get(name, "") for name in settings),
            "" if row.tokens is None else str(row.tokens),
            row.state,
            row.units,
            "" if row.reliability is None else f"{row.reliability:.2f}",
            "" if row.clusters is None else str(row.clusters),
            f"{row.worker_hours:.2f}",
            _time(row.last_seen),
            row.note if row.state in ("unreadable", "failed") else "",
        ]
        for row in rows
    ]
    return header, body


def _time(seconds: float | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


if __name__ == "__main__":
    sys.exit(main())
