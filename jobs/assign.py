"""Tokens to existing clusters, without clustering again: those that were added to the run after its
clusters were found (tokens=more), or all tokens of another run that was measured along the same
draws.

A token goes to the cluster that has most of the graph's weight around it, if that is more than lies
in no cluster. Writes clusters/assigned-<key>.parquet: token_id, cluster_id (-1: none), share.

  spectro sample run.uri=runs/demo tokens=more more.num_probe_sequences=32
  spectro assign runs/demo
  spectro assign runs/demo/control assign.min_share=0.5
  spectro assign s3://bucket/run from=s3://bucket/other
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from spectro.clustering.config import AssignConfig
from spectro.storage.credentials import refuse_credentials

from .command import Command
from .output import say
from .progress import progress
from .reading import StoredRun

if TYPE_CHECKING:  # loads scipy and numba
    from spectro.cluster_stage.assign import Assigned


@dataclass(frozen=True, kw_only=True)
class AssignJob:
    """Settings of `spectro assign`."""

    run: StoredRun = field(default_factory=StoredRun)
    """Run with clusters, a part of one, or a folder of clusters."""
    source: str | None = None
    """Run whose tokens are assigned; null: those added to the same run."""
    assign: AssignConfig = field(default_factory=AssignConfig)
    """Rule of the assignment."""
    scratch: str | None = None
    """Folder for a copy of the clustered vectors; null: the system's temporary folder."""

    def __post_init__(self) -> None:
        refuse_credentials(self.source or "", "from")


def _assign(job: AssignJob) -> None:
    from spectro.cluster_stage.assign import assign_tokens  # not for --help

    with progress("assign") as update:
        found = assign_tokens(job.run.uri, job.source, job.assign, update, scratch=job.scratch)
    say(*_lines(found))


COMMAND = Command(
    name="assign", config=AssignJob, run=_assign, positional=("run.uri",),
    short={"from": "source"}, usage="<run with clusters> [from=<run>] [assign.key=value ...]",
)  # fmt: skip
main = COMMAND.main


def _lines(found: Assigned) -> list[str]:
    inside = found.cluster_M >= 0
    number = int(np.unique(found.cluster_M[inside]).size)
    share = f", median share {np.median(found.share_M[inside]):.2f}" if inside.any() else ""
    existed = " (was there)" if found.was_there else ""
    return [
        f"{inside.sum():,} of {inside.size:,} tokens assigned to {number:,} of "
        f"{found.num_clusters:,} clusters of {found.clusters}{share}",
        f"{found.name}{existed}",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
