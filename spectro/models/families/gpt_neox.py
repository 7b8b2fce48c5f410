"""GPT-NeoX (all Pythia sizes): fused queries, keys and values; rotary positions; layer norms.

A head's queries, keys and values are neighbouring rows of one map. Shapes as in transformer.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from spectro.models.architecture import Weights
from spectro.models.config_json import check_rope
from spectro.models.consistency import require_type
from spectro.models.families.rotary import RotaryOf, model_rotary, no_rotary, rotate
from spectro.models.precision import causal_attention
from spectro.models.size import ModelSize
from spectro.models.transformer import Transformer
from spectro.models.variant_products import (
    by_owner,
    owner_linear,
    terms_by_head,
)


class GPTNeoX(Transformer):
    """A GPT-NeoX model."""

    embed_names = ("gpt_neox.embed_in.weight",)
    layers_name = "gpt_neox.layers."
    final_norm_name = "gpt_neox.final_layer_norm"
    query_map, output_map = "attention.query_key_value", "attention.dense"
    inner_maps, down_map = ("mlp.dense_h_to_4h",), "mlp.dense_4h_to_h"

    @classmethod
    def rotary_of(cls, shape: ModelSize, hf: PreTrainedModel | None) -> RotaryOf:
        """Of a share of each head's dimensions; without a model of any even number."""
        return no_rotary(max(2, shape.head_size // 8 * 2)) if hf is None else model_rotary(hf)

    @classmethod
    def check(cls, model: PreTrainedModel) -> None:
        """Raise ValueError for another type or other rotary embeddings."""
        require_type(model)
        try:
            check_rope(model.config.rope_parameters or {})
        except ValueError as error:
            raise ValueError(f"the model {error}") from error

    def embed(self, ids_BT: Tensor) -> Tensor:
        """Residual stream entering layer 0, [B, T, D]."""
        return functional.embedding(ids_BT, self.params[self.embed_names[0]])

    def attention_states(self, normed_BTD: Tensor, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values, [B, H, T, K] each."""
        num_seq, num_pos, _ = normed_BTD.shape
        qkv = self.linear(normed_BTD, layer, self.query_map)
        qkv = qkv.view(num_seq, num_pos, self.shape.num_heads, 3 * self.shape.head_size)
        return self._rotated(qkv.transpose(1, 2))

    def _rotated(self, qkv_BHT3K: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three parts of interleaved queries, keys and values; of heads or variants."""
        query, key, value = qkv_BHT3K.chunk(3, dim=-1)
        rotary = self.rotary(qkv_BHT3K.shape[2])
        return rotate(query, rotary), rotate(key, rotary), value

    def head_terms(
        self, normed_GBTD: Tensor, heads: Mapping[int, Weights], layer: int
    ) -> list[Tensor]:
        """One product gives queries, keys and values of all heads and variants."""
        num_owners, num_seq, num_pos, _ = normed_GBTD.shape
        own = list(heads.values())
        qkv_weight, dense = (by_owner(own, b, num_owners) for b in ("qkv_weight", "dense_weight"))
        num_variants = qkv_weight.shape[1]
        qkv = owner_linear(normed_GBTD, qkv_weight.flatten(1, 2), None, self.precision)
        if all("qkv_bias" in weights for weights in own):
            qkv = qkv + by_owner(own, "qkv_bias", num_owners).flatten(1)[:, None]
        qkv = qkv.view(num_owners * num_seq, num_pos, num_variants, -1).transpose(1, 2)
        mixed = causal_attention(*self._rotated(qkv), self.precision)
        mixed = mixed.view(num_owners, num_seq, num_variants, num_pos, -1)
        counts = [len(weights["qkv_weight"]) for weights in own]
        return terms_by_head(mixed, dense, counts, self.precision)
