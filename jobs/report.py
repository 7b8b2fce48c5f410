"""`spectro report <run> [report.key=value ...]`: the viewer of a run as one file.

A folder of clusters (`<run>/clusters-k30`) has a page of its own, `<run>/report-k30/index.html`.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass, field

from jobs.launch import launch
from jobs.stored import found_with, stored_with
from jobs.terminal import run_and_tell
from spectro.config import PipelineConfig, RunConfig
from spectro.formats import run_dir
from spectro.formats.clusters.clusters import PROVENANCE
from spectro.pipeline.run import Goal
from spectro.storage.store import Store
from spectro.views.page.config import ReportConfig


@dataclass(frozen=True, kw_only=True)
class ReportJob:
    """Which run, and what its page shows."""

    run: RunConfig
    """Its folder, or one of clusters in it, and how it is executed."""
    report: ReportConfig = field(default_factory=ReportConfig)
    """What the page shows."""


def main() -> int:
    """Compose, run; returns the exit status."""
    return launch("report", "report_job", ReportJob, _report)


def _report(job: ReportJob) -> None:
    config = dataclasses.replace(_stored(job.run), report=job.report)
    run_and_tell(config, Goal.REPORT, renew_page=True)


def _stored(run: RunConfig) -> PipelineConfig:
    """The stored configuration of a run, or of the run that a folder of clusters lies in."""
    store = Store(run.uri)
    if store.exists(run_dir.NAME) or not store.exists(PROVENANCE):
        return stored_with(run)
    above, _, folder = store.uri.rpartition("/")
    stored = stored_with(dataclasses.replace(run, uri=above))
    own = dataclasses.replace(stored.run, clusters=folder)
    return dataclasses.replace(stored, run=own, cluster=found_with(own) or stored.cluster)


if __name__ == "__main__":
    sys.exit(main())
