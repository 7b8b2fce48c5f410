"""Checkpoints at URLs: copied once per machine, then loaded as a folder."""

from __future__ import annotations

import dataclasses

from spectro.models.config import ModelConfig
from spectro.storage.local_copies import local_folder
from spectro.storage.locations import is_uri

WEIGHTS = ".safetensors"
SMALL = (".json", ".txt", ".model", ".jinja")
"""Endings of config and tokenizer."""


def on_this_machine(model: ModelConfig, scratch: str | None, *, weights: bool) -> ModelConfig:
    """The same model with the folder of a copy for its URL; folders and hub names as they are.

    Args:
        model: `name_or_path` may be a URL of fsspec, such as s3://bucket/pythia-1.4b.
        scratch: `run.scratch`, the parent folder of copies.
        weights: whether they are needed beside config and tokenizer.

    Raises FileNotFoundError, PermissionError, ValueError or OSError, in one line.
    """
    url = model.name_or_path
    if not is_uri(url):
        return model
    if model.revision is not None:
        raise ValueError(
            f"model.revision is {model.revision!r}, but {url} has no revisions to choose from: "
            "leave model.revision out (null), or give a hub name"
        )
    endings = (*SMALL, WEIGHTS) if weights else SMALL
    file = model.gguf_file  # config, weights and tokenizer at once

    def wanted(name: str) -> bool:
        return name == file if file else "/" not in name and name.endswith(endings)

    folder = local_folder(url, scratch, wanted)
    return dataclasses.replace(model, name_or_path=folder)
