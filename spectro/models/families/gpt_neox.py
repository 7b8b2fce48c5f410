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
    mlp_of_variants,
    owner_linear,
    terms_by_head,
)


class GPTNeoX(Transformer):
    """A GPT-NeoX model."""

    embed_names = ("gpt_neox.embed_in.weight",)
    layers_name = "gpt_neox.layers."

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

    def attention_in(self, resid: Tensor, layer: int) -> Tensor:
        """The input norm of a stream, [..., D]."""
        return self.layer_norm(resid, f"{self.layers_name}{layer}.input_layernorm")

    def mlp_in(self, resid: Tensor, layer: int) -> Tensor:
        """The post-attention norm of a stream, [..., D]."""
        return self.layer_norm(resid, f"{self.layers_name}{layer}.post_attention_layernorm")

    def final_norm(self, resid: Tensor) -> Tensor:
        """The final norm of a stream, [..., D]."""
        return self.layer_norm(resid, "gpt_neox.final_layer_norm")

    def attention(self, normed_BTD: Tensor, layer: int) -> Tensor:
        """All heads of a layer and the output bias, [B, T, D]."""
        num_seq, num_pos, _ = normed_BTD.shape
        qkv = self.linear(normed_BTD, layer, "attention.query_key_value")
        qkv = qkv.view(num_seq, num_pos, self.shape.num_heads, 3 * self.shape.head_size)
        mixed_BHTK = self.attend(qkv.transpose(1, 2))
        mixed_BTD = mixed_BHTK.transpose(1, 2).reshape(num_seq, num_pos, -1)
        return self.linear(mixed_BTD, layer, "attention.dense")

    def attend(self, qkv_BHT3K: Tensor) -> Tensor:
        """Causal attention from interleaved queries, keys and values: [B, H, T, 3K] → [.., K].

        H may be heads or variants: attention never mixes them.
        """
        query, key, value = qkv_BHT3K.chunk(3, dim=-1)
        rotary = self.rotary(qkv_BHT3K.shape[2])
        return causal_attention(rotate(query, rotary), rotate(key, rotary), value, self.precision)

    def mlp(self, normed: Tensor, layer: int) -> Tensor:
        """The MLP of a layer, biases included, [..., D]."""
        inner = self.linear(normed, layer, "mlp.dense_h_to_4h")
        return self.linear(self.activation(inner), layer, "mlp.dense_4h_to_h")

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
        mixed = self.attend(qkv).view(num_owners, num_seq, num_variants, num_pos, -1)
        counts = [len(weights["qkv_weight"]) for weights in own]
        return terms_by_head(mixed, dense, counts, self.precision)

    def mlp_term(self, normed_GBTD: Tensor, weights: Weights, layer: int) -> Tensor:
        """Variants that see the same sequences share the input of the first product."""
        return mlp_of_variants(
            normed_GBTD,
            [(weights["up_weight"], weights["up_bias"])],
            lambda maps: self.activation(maps[0]),
            weights["down_weight"],
            weights["down_bias"],
            self.precision,
        )
