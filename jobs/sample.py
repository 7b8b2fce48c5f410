"""`python -m jobs.sample [key=value ...]`: tokens, chains, tiles and susceptibilities."""

from __future__ import annotations

import sys

from jobs.launch import launch
from jobs.stored import asked
from jobs.terminal import run_and_tell
from spectro.config import PipelineConfig
from spectro.pipeline.run import Goal


def main() -> int:
    """Compose, run; returns the exit status."""
    return launch(
        "sample",
        "pipeline",
        PipelineConfig,
        lambda config: run_and_tell(asked(config), Goal.SAMPLE),
    )


if __name__ == "__main__":
    sys.exit(main())
