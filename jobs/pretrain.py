"""`python -m jobs.pretrain work_dir=<folder> [key=value ...]`: train the embedded model."""

from __future__ import annotations

import logging
import sys

from jobs.launch import launch
from spectro.pretrain.config import PretrainConfig
from spectro.pretrain.run import pretrain


def main() -> int:
    """Compose, train; returns the exit status."""
    return launch("pretrain", "pretrain", PretrainConfig, _train)


def _train(config: PretrainConfig) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    pretrain(config)


if __name__ == "__main__":
    sys.exit(main())
