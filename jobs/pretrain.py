"""Trains the embedded model.

Examples:

  spectro pretrain work_dir=<folder> [key=value ...]
"""

from __future__ import annotations

import dataclasses
import logging
import sys

from spectro.pretrain.config import PretrainConfig
from spectro.storage.locations import local_path

from .command import Command


def _pretrain(config: PretrainConfig) -> None:
    from spectro.pretrain.run import pretrain  # torch: not for --help

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    out_dir = local_path(config.out_dir, "out_dir")
    work_dir = local_path(config.work_dir, "work_dir")
    pretrain(dataclasses.replace(config, out_dir=out_dir, work_dir=work_dir))


COMMAND = Command(name="pretrain", config=PretrainConfig, run=_pretrain, root="pretrain")
main = COMMAND.main


if __name__ == "__main__":
    raise SystemExit(main())
