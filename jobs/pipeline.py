"""The whole run: tokens, chains, susceptibilities, clusters, page.

Without settings it runs the embedded model on the embedded text, into runs/demo. Interrupted? The
same command resumes.

  spectro pipeline
  spectro pipeline experiment=pythia_14m_fast run.uri=runs/14m
  spectro pipeline -m seed=1,2,3 sampler=psgld,reweighted run.root=runs/sweep
"""

from __future__ import annotations

from spectro.config import PipelineConfig
from spectro.work.stage import Goal

from .command import Command
from .stored import requested


def _pipeline(config: PipelineConfig) -> object:
    from .run_goal import run_goal  # torch and Ray: not for --help

    return run_goal(requested(config), Goal.REPORT)


COMMAND = Command(
    name="pipeline", config=PipelineConfig, run=_pipeline, root="pipeline", may_trust=True
)
main = COMMAND.main


if __name__ == "__main__":
    raise SystemExit(main())
