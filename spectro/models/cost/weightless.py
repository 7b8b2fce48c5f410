"""Models without values: shapes alone, on which real calls are counted."""

from __future__ import annotations

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from spectro.models.gpt_neox import GPTNeoX
from spectro.models.size import ModelSize


def config_of(size: ModelSize) -> GPTNeoXConfig:
    """The transformers configuration of a model of this size."""
    return GPTNeoXConfig(
        vocab_size=size.vocab_size,
        hidden_size=size.hidden_size,
        num_hidden_layers=size.num_layers,
        num_attention_heads=size.num_heads,
        intermediate_size=size.intermediate_size,
        max_position_embeddings=size.max_context,
        use_parallel_residual=size.parallel_residual,
        attention_bias=size.attention_bias,
        tie_word_embeddings=False,
    )


def weightless_model(size: ModelSize) -> GPTNeoX:
    """A model of this size; call it in a `FakeTensorMode`, under which its tensors are made."""
    with torch.device("meta"):
        hf = GPTNeoXForCausalLM(config_of(size))
    output = hf.get_output_embeddings().weight
    params = {name: torch.empty(tensor.shape) for name, tensor in hf.named_parameters()}
    rotary_size = max(2, size.head_size // 8 * 2)  # even; it costs no product
    return GPTNeoX(
        size,
        params,
        lambda num_pos: (torch.empty(num_pos, rotary_size), torch.empty(num_pos, rotary_size)),
        next(name for name, tensor in hf.named_parameters() if tensor is output),
    )
