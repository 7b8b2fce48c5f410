"""`python -m jobs.pretrain work_dir=<folder> [key=value ...]`: train the embedded model."""

from __future__ import annotations

import dataclasses
import logging
import sys

from jobs.launch import launch
from spectro.pretrain.config import PretrainConfig
from spectro.pretrain.run import pretrain
from spectro.storage.locations import local_path


def main() -> int:
    """Compose, train; returns the exit status."""
    return launch("pretrain", "pretrain", PretrainConfig, _train)


def _train(config: PretrainConfig) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    pretrain(
        dataclasses.replace(
            config,
            out_dir=local_path(config.out_dir, "out_dir"),
            work_dir=local_path(config.work_dir, "work_dir"),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
