"""The size of a model by its config; for the universal engine with all settings of the config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from transformers import AutoConfig

from spectro.models.config_json import FAMILIES, arithmetic_settings
from spectro.models.size import ModelSize


def size_of_config(raw: Mapping[str, Any], *, universal: bool = False) -> ModelSize:
    """Size of a model, by config.json or by the config of a loaded model.

    What a family without an engine leaves out of config.json is filled in by transformers.

    Args:
        raw: the config's fields.
        universal: whether the universal engine computes it though its family has an engine.

    Raises ValueError, in one line, if a field is missing.
    """
    raw = {"model_type": "gpt_neox", **raw}
    if raw["model_type"] in FAMILIES and not universal:
        return ModelSize.of_config(raw)
    whole = AutoConfig.for_model(**raw).to_dict()
    settings = json.dumps(arithmetic_settings(whole), sort_keys=True)
    return replace(ModelSize.of_config(whole), universal_config=settings)
