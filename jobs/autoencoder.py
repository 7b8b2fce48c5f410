"""Trains a small TopK autoencoder of a model on the embedded corpus, in the layout of SAELens 6.

The one of the package (spectro sae <run> embedded) was made so, in minutes on one core.

  spectro autoencoder out_dir=<folder>
  spectro autoencoder out_dir=<folder> model.name_or_path=attention-only hook=layers.0
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from pathlib import Path

from spectro.pretrain.autoencoder_config import AutoencoderConfig
from spectro.storage.locations import local_path

from .command import Command
from .output import say


def _train(config: AutoencoderConfig) -> None:
    from spectro.pretrain.autoencoder import train_autoencoder  # torch: not for --help

    if not config.out_dir:
        raise ValueError("out_dir is empty: name the folder that receives the autoencoder")
    out_dir = local_path(config.out_dir, "out_dir")
    if Path(out_dir).exists() and not Path(out_dir).is_dir():
        raise ValueError(f"out_dir={out_dir} is a file, expected a folder: give another name")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    found = train_autoencoder(dataclasses.replace(config, out_dir=out_dir))
    say(
        f"held-out text: error {found['heldout_fvu']:.3f} of the variance, L0 "
        f"{found['heldout_l0']:.1f}; {found['features_never_active']:,} features never active in "
        f"{found['heldout_tokens']:,} tokens",
        f"autoencoder: {out_dir}",
    )


COMMAND = Command(
    name="autoencoder", config=AutoencoderConfig, run=_train,
    usage="out_dir=<folder> [key=value ...]",
)  # fmt: skip
main = COMMAND.main


if __name__ == "__main__":
    raise SystemExit(main())
