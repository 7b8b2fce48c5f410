"""The size of a model by its config; for the universal engine with all settings of the config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

import spectro.models.attention_only  # noqa: F401 - registers the type
from spectro.models.architecture import weights_in
from spectro.models.block_names import layer_blocks
from spectro.models.components import Component
from spectro.models.config_json import FAMILIES, arithmetic_settings
from spectro.models.parameters import edge_blocks, named_parameters
from spectro.models.size import ModelSize

STANDARD = (
    "num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size",
    "max_position_embeddings", "num_key_value_heads", "head_dim",
)  # fmt: skip
"""Names by which configs of most families answer, whatever name they store."""


def size_of_config(raw: Mapping[str, Any], *, universal: bool = False) -> ModelSize:
    """Size of a model, by config.json or by the config of a loaded model.

    Of a family without an engine, what config.json leaves out is filled in by transformers, and
    weights are counted from the model without values.

    Args:
        raw: the config's fields.
        universal: whether the universal engine computes it though its family has an engine.

    Raises ValueError, in one line, if a field is missing.
    """
    raw = {"model_type": "gpt_neox", **raw}
    if raw["model_type"] in FAMILIES and not universal:
        return ModelSize.of_config(raw)
    config = AutoConfig.for_model(**raw)
    whole = config.to_dict()
    known = {name: getattr(config, name, None) for name in STANDARD}
    known = {name: own for name, own in known.items() if own}
    known.setdefault("num_attention_heads", 1)  # of a model without attention
    known.setdefault("intermediate_size", 4 * int(known.get("hidden_size") or 0))
    size = ModelSize.of_config(whole | known)
    settings = arithmetic_settings(whole) | {"pad_token_id": whole.get("pad_token_id")}
    text = json.dumps(settings, sort_keys=True)
    counts = _weights_of_kinds(size, text)
    return replace(size, universal_config=text, weights_by_kind=counts)


@cache
def weightless_hf(universal_config: str) -> PreTrainedModel:
    """A model of `ModelSize.universal_config` on the meta device."""
    with torch.device("meta"):
        config = AutoConfig.for_model(**json.loads(universal_config))
        return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


@cache
def _weights_of_kinds(size: ModelSize, settings: str) -> tuple[tuple[str, int], ...]:
    """`shape_key` → weights of one component; 0 where its parameters have unknown names."""
    hf = weightless_hf(settings)
    params, unembed_name = named_parameters(hf)
    table = hf.get_input_embeddings().weight
    embed_name = next(name for name, own in hf.named_parameters() if own is table)

    def count(component: Component) -> int:
        if component.layer is None:
            blocks = edge_blocks(component, params, embed_name, unembed_name)
        else:
            blocks = layer_blocks(component, params, size)
        return sum(own.numel() for own in weights_in(params, blocks).values())

    found: dict[str, int] = {}
    for component in (*size.components, *chain(*size.granularities)):
        if component.shape_key not in found:
            try:
                found[component.shape_key] = count(component)
            except ValueError:  # its user is to define it by names of parameters
                found[component.shape_key] = 0
    return tuple(found.items())
