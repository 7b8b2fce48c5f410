"""`python -m jobs.resume run.uri=<run>`: go on with a run from its own `run.yaml`."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass

from jobs.launch import launch
from jobs.stored import stored_config
from jobs.terminal import run_and_tell
from spectro.run.config import RunConfig
from spectro.run.pipeline import Goal


@dataclass(frozen=True, kw_only=True)
class ResumeJob:
    """Which run, and how it is executed from here on."""

    run: RunConfig
    """Its folder; workers, threads and what is kept may differ from before."""


def main() -> int:
    """Compose, run; returns the exit status."""
    return launch("resume", "resume_job", ResumeJob, _resume)


def _resume(job: ResumeJob) -> None:
    config = dataclasses.replace(stored_config(job.run.uri), run=job.run)
    run_and_tell(config, Goal.REPORT)


if __name__ == "__main__":
    sys.exit(main())
