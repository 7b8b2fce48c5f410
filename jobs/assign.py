"""`spectro assign run.uri=<run with clusters> [from=<run>]`: later tokens to its clusters."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console

from jobs.launch import launch
from jobs.look import StoredRun
from spectro.cluster_stage.assign import Assigned, assign_tokens
from spectro.clustering.config import AssignConfig
from spectro.storage.credentials import refuse_credentials
from spectro.work.progress import Progress


@dataclass(frozen=True, kw_only=True)
class AssignJob:
    """Which clusters, which tokens, and how."""

    run: StoredRun
    """Run with clusters, a part of one, or a folder of clusters."""
    source: str | None = None
    """Run whose tokens are assigned (`from=` of the command); None: those added to the same run."""
    assign: AssignConfig = field(default_factory=AssignConfig)
    """How."""
    scratch: str | None = None
    """Folder for a copy of the clustered vectors; None: the system's folder for temporary files."""

    def __post_init__(self) -> None:
        refuse_credentials(self.source or "", "from")


def main() -> int:
    """Compose, assign; returns the exit status."""
    return launch("assign", "assign_job", AssignJob, _assign)


def _assign(job: AssignJob) -> None:
    console = Console(soft_wrap=True)
    with Progress(console) as progress:
        progress.add("assign", 1.0)
        found = assign_tokens(
            job.run.uri, job.source, job.assign,
            lambda done, total: progress.update("assign", done / max(1.0, total)),
            scratch=job.scratch,
        )  # fmt: skip
        progress.update("assign", 1.0)
    for line in lines(found):
        console.print(line, highlight=False, markup=False)


def lines(found: Assigned) -> list[str]:
    """What came out, in two lines."""
    inside = found.cluster_M >= 0
    number = int(np.unique(found.cluster_M[inside]).size)
    share = f", median share {np.median(found.share_M[inside]):.2f}" if inside.any() else ""
    there = " (was there)" if found.was_there else ""
    return [
        f"{inside.sum():,} of {inside.size:,} tokens assigned to {number:,} of "
        f"{found.num_clusters:,} clusters of {found.clusters}{share}",
        f"{found.name}{there}",
    ]


if __name__ == "__main__":
    sys.exit(main())
