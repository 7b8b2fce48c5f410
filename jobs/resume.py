"""`python -m jobs.resume run.uri=<run>`: go on with a run from its own `run.yaml`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from jobs.launch import launch
from jobs.stored import stored_with
from jobs.terminal import run_and_tell
from spectro.config import RunConfig
from spectro.pipeline.run import Goal


@dataclass(frozen=True, kw_only=True)
class ResumeJob:
    """Which run, and how it is executed from here on."""

    run: RunConfig
    """Its folder; how it is executed may be given anew, what is not given is as in its run.yaml."""


def main() -> int:
    """Compose, run; returns the exit status."""
    return launch("resume", "resume_job", ResumeJob, _resume)


def _resume(job: ResumeJob) -> None:
    run_and_tell(stored_with(job.run), Goal.REPORT)


if __name__ == "__main__":
    sys.exit(main())
