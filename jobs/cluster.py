"""`spectro cluster run.uri=<run> [name=k30] [cluster.key=value ...]`: clusters of a run."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass

from jobs.launch import launch
from jobs.stored import explicit, found_with, stored_config, stored_with
from jobs.terminal import run_and_tell
from spectro.clustering.config import ClusterConfig
from spectro.config import RunConfig
from spectro.pipeline.run import Goal


@dataclass(frozen=True, kw_only=True)
class ClusterJob:
    """Which run, and how its tokens are clustered."""

    run: RunConfig
    """Its folder and how it is executed."""
    cluster: ClusterConfig
    """How clusters are found; what is not given is as in the clusters of that name, or else
    as in the run's own run.yaml."""
    name: str | None = None
    """Of a further clustering beside the run's own, such as `k30`: it goes to
    `<run>/clusters-<name>`."""


def main() -> int:
    """Compose, run; returns the exit status."""
    return launch("cluster", "cluster_job", ClusterJob, _cluster)


def _cluster(job: ClusterJob) -> None:
    stored = stored_with(job.run)
    run = stored.run
    if job.name is not None:
        run = dataclasses.replace(run, clusters=f"clusters-{job.name}")
    base = found_with(run) or stored_config(run.uri).cluster
    cluster = explicit("cluster", base, job.cluster)
    run_and_tell(dataclasses.replace(stored, cluster=cluster, run=run), Goal.CLUSTER)


if __name__ == "__main__":
    sys.exit(main())
