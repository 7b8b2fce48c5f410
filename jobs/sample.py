"""Tokens, chains, tiles and susceptibilities: the run without clusters and page.

Examples:

  spectro sample run.uri=runs/demo
  spectro sample run.uri=runs/demo tokens=more more.num_probe_sequences=32    measure more tokens
"""

from __future__ import annotations

from spectro.config import PipelineConfig
from spectro.work.stage import Goal

from .command import Command
from .stored import requested


def _sample(config: PipelineConfig) -> object:
    from .run_goal import run_goal  # torch and Ray: not for --help

    return run_goal(requested(config), Goal.SAMPLE)


COMMAND = Command(
    name="sample", config=PipelineConfig, run=_sample, root="pipeline", may_trust=True
)
main = COMMAND.main


if __name__ == "__main__":
    raise SystemExit(main())
