"""Sizes of models without their weights: from a config.json, or from published shapes."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import yaml

from spectro.measure.checkpoint_copy import on_this_machine
from spectro.models.config import PACKAGED, ModelConfig
from spectro.models.config_json import check_config
from spectro.models.load import read_config, refuse_revision
from spectro.models.size import ModelSize
from spectro.models.size_of_config import size_of_config

PYTHIA_VOCAB = 50304


def published_sizes() -> dict[str, ModelSize]:
    """The Pythia models by name."""
    text = (resources.files("spectro") / "assets" / "pythia_sizes.yaml").read_text(encoding="utf-8")
    return {
        name: ModelSize(
            **numbers, intermediate_size=4 * numbers["hidden_size"], vocab_size=PYTHIA_VOCAB
        )
        for name, numbers in yaml.safe_load(text).items()
    }


def size_of_checkpoint(config: ModelConfig) -> ModelSize:
    """Size of a run's model: of its config where there is one, else the published shape.

    Only config.json is read, of a GGUF file its settings, and nothing of the network. A hub name
    that is no published model must be downloaded first.

    Raises ValueError, in one line, where neither is known, and for what cannot be measured.
    """
    refuse_revision(config)
    name = config.name_or_path
    if name in PACKAGED:
        return _read(
            resources.files("spectro")
            .joinpath("assets", PACKAGED[name], "config.json")
            .read_text(encoding="utf-8")
        )
    local = on_this_machine(config, None, weights=False)
    place = Path(local.name_or_path).expanduser()
    file = place / "config.json"
    if place.exists() and (config.gguf_file is not None or not file.is_file()):
        return ModelSize.of_config(read_config(local, has_weights=False))
    if file.is_file():
        return _read(file.read_text(encoding="utf-8"))
    known = published_sizes()
    short = name.split("/")[-1].removesuffix("-deduped")
    if short not in known:
        raise ValueError(
            f"model {name!r} is neither a folder with a config.json nor one of the published "
            f"shapes ({', '.join(known)}): give the folder of the checkpoint"
        )
    return known[short]


def _read(text: str) -> ModelSize:
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"the model's config.json is no JSON: {error}") from error
    try:
        check_config({"model_type": "gpt_neox", **config})
    except ValueError as error:
        raise ValueError(f"the model {error}") from error
    return size_of_config(config)
