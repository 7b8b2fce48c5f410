"""Goes on with a run from its own run.yaml; what is not given of its execution is as there.

Examples:

  spectro resume runs/demo
  spectro resume s3://bucket/run run.num_workers=8
"""

from __future__ import annotations

from dataclasses import dataclass

from spectro.work.config import RunConfig
from spectro.work.stage import Goal

from .command import Command
from .stored import stored_with


@dataclass(frozen=True, kw_only=True)
class ResumeJob:
    """Settings of `spectro resume`."""

    run: RunConfig
    """Which run, and how it is executed from here on."""


def _resume(job: ResumeJob) -> object:
    from .run_goal import run_goal  # torch and Ray: not for --help

    return run_goal(stored_with(job.run), Goal.REPORT)


COMMAND = Command(
    name="resume", config=ResumeJob, run=_resume, may_trust=True, root="resume_job",
    usage="<run> [run.key=value ...]", positional=("run.uri",),
)  # fmt: skip
main = COMMAND.main


if __name__ == "__main__":
    raise SystemExit(main())
