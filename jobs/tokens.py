"""Token sequences of a run, and nothing else.

Examples:

  spectro tokens tokens=jsonl tokens.subsets.text.path=texts.jsonl run.uri=runs/texts
"""

from __future__ import annotations

from spectro.config import PipelineConfig
from spectro.work.stage import Goal

from .command import Command
from .stored import requested


def _tokens(config: PipelineConfig) -> object:
    from .run_goal import run_goal  # torch and Ray: not for --help

    return run_goal(requested(config), Goal.TOKENS)


COMMAND = Command(
    name="tokens", config=PipelineConfig, run=_tokens, root="pipeline", may_trust=True
)
main = COMMAND.main


if __name__ == "__main__":
    raise SystemExit(main())
