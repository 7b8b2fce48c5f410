"""The attention-only transformer of the package: the Llama kind with layer norms and no MLP."""

from __future__ import annotations

from transformers import PreTrainedModel

from spectro.models.attention_only import rotary
from spectro.models.families.llama import Llama
from spectro.models.families.rotary import RotaryOf, no_rotary
from spectro.models.size import ModelSize


class AttentionOnly(Llama):
    """A model of models/attention_only.py."""

    has_layer_norm = True

    @classmethod
    def rotary_of(cls, shape: ModelSize, hf: PreTrainedModel | None) -> RotaryOf:
        """Of all dimensions of a head."""
        if hf is None:
            return no_rotary(shape.head_size)
        like = hf.get_output_embeddings().weight.detach()
        return lambda num_pos: rotary(hf.config, num_pos, like)
