"""Clusters of a measured run and of its control: kNN lists, their recall, the graph, rounds of
seeds, and with cluster.stability the same of either half of the chains.

What is not given is as in the clusters of that name, else as in the run's own run.yaml;
cluster=<file> replaces all of it by a file of conf/cluster. Settings other than the run's own need
a name: name=k30 goes to <run>/clusters-k30 and leaves the first as they are. Interrupted? The same
command resumes. The clusters do not depend on workers or threads.

  spectro cluster runs/demo
  spectro cluster runs/demo name=k30 cluster.num_neighbours=30
  spectro cluster runs/demo name=exact cluster.neighbour_search=exact
  spectro cluster runs/demo name=overlap cluster=whitened_overlapping
  spectro cluster s3://bucket/run run.ray_address=auto run.scratch=/mnt/disk
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from spectro.clustering.config import ClusterConfig
from spectro.work.config import RunConfig
from spectro.work.stage import Goal

from .command import Command
from .stored import explicit, stored_cluster_config, stored_config, stored_with


@dataclass(frozen=True, kw_only=True)
class ClusterJob:
    """Settings of `spectro cluster`."""

    run: RunConfig
    """Which run, and how it is executed."""
    cluster: ClusterConfig
    """How clusters are found."""
    name: str | None = None
    """Name of a further clustering beside the run's own, such as `k30`: it goes to
    `<run>/clusters-<name>`."""


def _cluster(job: ClusterJob) -> object:
    from .run_goal import run_goal  # torch and Ray: not for --help

    stored = stored_with(job.run)
    run = stored.run
    if job.name is not None:
        run = dataclasses.replace(run, clusters=f"clusters-{job.name}")
    base = stored_cluster_config(run) or stored_config(run.uri).cluster
    cluster = explicit("cluster", base, job.cluster)
    return run_goal(dataclasses.replace(stored, cluster=cluster, run=run), Goal.CLUSTER)


COMMAND = Command(
    name="cluster", config=ClusterJob, run=_cluster, may_trust=True, root="cluster_job",
    usage="<run> [name=<name>] [cluster=<file>] [cluster.key=value ...]",
    positional=("run.uri",),
)  # fmt: skip
main = COMMAND.main


if __name__ == "__main__":
    raise SystemExit(main())
