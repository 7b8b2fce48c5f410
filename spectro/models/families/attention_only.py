"""The attention-only transformer of the package: the Llama kind with layer norms and no MLP."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from spectro.models.attention_only import rotary
from spectro.models.config import Precision
from spectro.models.families.llama import Llama
from spectro.models.families.rotary import no_rotary
from spectro.models.size import ModelSize


class AttentionOnly(Llama):
    """A model of models/attention_only.py."""

    @classmethod
    def of_parts(
        cls,
        shape: ModelSize,
        params: Mapping[str, Tensor],
        unembed_name: str,
        precision: Precision,
        hf: PreTrainedModel | None = None,
    ) -> AttentionOnly:
        """See `Transformer.of_parts`."""
        like = params[unembed_name]
        angles = (
            no_rotary(shape.head_size)
            if hf is None
            else lambda num_pos: rotary(hf.config, num_pos, like)
        )
        return cls(shape, params, angles, unembed_name, precision)

    def norm(self, states: Tensor, name: str) -> Tensor:
        """Layer norm over the last dimension."""
        weight, bias = self.params[f"{name}.weight"], self.params[f"{name}.bias"]
        return functional.layer_norm(states, weight.shape, weight, bias, self.shape.layer_norm_eps)
