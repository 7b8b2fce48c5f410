"""A configuration as a file of `conf/experiment/`, for `--config-dir <folder> experiment=<name>`.

Groups are chosen as they were where the configuration was composed, and every value that makes the
measurement is written out, so that the file gives the same run whatever the defaults become.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from spectro.config import PipelineConfig, to_dict

GROUPS = ("model", "tokens", "sampler", "cluster")
VALUES = (
    "model", "tokens", "sampler", "chain", "estimator", "scoring", "components", "cluster",
    "control", "seed",
)  # fmt: skip
HEAD = "# @package _global_\n"


def experiment_text(config: PipelineConfig, choices: Mapping[str, str], sentence: str) -> str:
    """The file.

    Args:
        config: of the run.
        choices: file of each group that the configuration was composed from.
        sentence: a comment, on one or more lines.
    """
    plain: dict[str, Any] = {name: to_dict(getattr(config, name)) for name in VALUES}
    sampler = plain["sampler"].pop("kind")
    chosen = {**choices, "sampler": sampler}
    defaults = [{f"override /{group}": chosen[group]} for group in GROUPS if group in chosen]
    body: str = yaml.safe_dump({"defaults": defaults, **plain}, sort_keys=False, allow_unicode=True)
    comment = "".join(f"# {line}\n" for line in sentence.splitlines())
    return HEAD + comment + body
