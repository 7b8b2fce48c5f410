"""The viewer of a run as one file: what was found, map, table and cards of clusters, records.

A folder of clusters (`<run>/clusters-k30`) has its own page, `<run>/report-k30/index.html`.

  spectro report runs/demo
  spectro report runs/demo/clusters-k30 report.title="30 neighbours"
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from spectro.config import PipelineConfig
from spectro.formats import run_dir
from spectro.formats.clusters.clusters import PROVENANCE
from spectro.storage.store import Store
from spectro.views.page.config import ReportConfig
from spectro.work.config import RunConfig
from spectro.work.stage import Goal

from .command import Command
from .stored import stored_cluster_config, stored_with


@dataclass(frozen=True, kw_only=True)
class ReportJob:
    """Settings of `spectro report`."""

    run: RunConfig
    """Which run, or folder of clusters in it, and how it is executed."""
    report: ReportConfig = field(default_factory=ReportConfig)
    """What the page shows."""


def _report(job: ReportJob) -> object:
    from .run_goal import run_goal  # torch and Ray: not for --help

    config = dataclasses.replace(_stored(job.run), report=job.report)
    return run_goal(config, Goal.REPORT, renew_page=True)


COMMAND = Command(
    name="report", config=ReportJob, run=_report, may_trust=True, root="report_job",
    usage="<run> [report.key=value ...]", positional=("run.uri",),
)  # fmt: skip
main = COMMAND.main


def _stored(run: RunConfig) -> PipelineConfig:
    """The stored configuration of a run, or of the run that has a folder of clusters."""
    store = Store(run.uri)
    if store.exists(run_dir.NAME) or not store.exists(PROVENANCE):
        return stored_with(run)
    above, _, folder = store.uri.rpartition("/")
    stored = stored_with(dataclasses.replace(run, uri=above))
    own = dataclasses.replace(stored.run, clusters=folder)
    return dataclasses.replace(
        stored, run=own, cluster=stored_cluster_config(own) or stored.cluster
    )


if __name__ == "__main__":
    raise SystemExit(main())
