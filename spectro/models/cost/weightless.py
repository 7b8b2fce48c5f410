"""Models without values: shapes alone, on which real calls are counted."""

from __future__ import annotations

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from spectro.models.config import Precision
from spectro.models.engine import FAMILIES, Engine
from spectro.models.parameters import named_parameters
from spectro.models.size import ModelSize
from spectro.models.size_of_config import weightless_hf
from spectro.models.universal import UniversalModel


def config_of(size: ModelSize) -> PreTrainedConfig:
    """The transformers configuration of a model of this size."""
    fields = {
        "vocab_size": size.vocab_size,
        "hidden_size": size.hidden_size,
        "num_hidden_layers": size.num_layers,
        "num_attention_heads": size.num_heads,
        "intermediate_size": size.intermediate_size,
        "max_position_embeddings": size.max_context,
        "attention_bias": size.attention_bias,
        "tie_word_embeddings": size.is_tied,
    }
    if size.family == "gpt_neox":
        fields["use_parallel_residual"] = size.parallel_residual
    elif size.family == "attention_only":
        del fields["intermediate_size"], fields["attention_bias"], fields["tie_word_embeddings"]
    elif size.family != "gpt2":
        fields |= {"num_key_value_heads": size.num_kv_heads, "head_dim": size.head_size}
    else:
        fields["n_inner"] = fields.pop("intermediate_size")
    return AutoConfig.for_model(size.family, **fields)


def weightless_model(size: ModelSize) -> Engine:
    """A model of this size; call it in a `FakeTensorMode` or under a device, as its tensors are
    made there. Of the universal engine they are on the meta device.
    """
    if size.is_universal:
        return UniversalModel(weightless_hf(size.universal_config))
    with torch.device("meta"):
        hf = AutoModelForCausalLM.from_config(config_of(size))
    shapes, unembed_name = named_parameters(hf)
    params = {name: torch.empty(tensor.shape) for name, tensor in shapes.items()}
    return FAMILIES[size.family].of_parts(size, params, unembed_name, Precision.FLOAT32)
