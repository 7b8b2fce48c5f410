"""GPT-2: learned positions, layer norms, maps stored as [input, output], tied embeddings.

The component `embed` is the token table, which is also the output matrix where the embeddings are
tied; the positions belong to no component. Shapes as in transformer.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from spectro.models.architecture import Weights
from spectro.models.precision import causal_attention
from spectro.models.transformer import Transformer
from spectro.models.variant_products import (
    by_owner,
    heads_linear,
    terms_by_head,
)


class GPT2(Transformer):
    """A GPT-2 model."""

    embed_names = ("transformer.wte.weight", "transformer.wpe.weight")
    layers_name = "transformer.h."
    attention_norm, mlp_norm, final_norm_name = "ln_1", "ln_2", "transformer.ln_f"
    query_map, output_map = "attn.c_attn", "attn.c_proj"
    inner_maps, down_map = ("mlp.c_fc",), "mlp.c_proj"

    @classmethod
    def check(cls, model: PreTrainedModel) -> None:
        """Raise ValueError for other scales of the attention, or cross-attention."""
        config = model.config
        if not config.scale_attn_weights or config.scale_attn_by_inverse_layer_idx:
            raise ValueError(
                "the model scales its attention otherwise than by the root of the head size "
                "(scale_attn_weights, scale_attn_by_inverse_layer_idx): the engine of GPT-2 does "
                "not compute it; leave it to the universal engine"
            )

    def embed(self, ids_BT: Tensor) -> Tensor:
        """Token and position embeddings, [B, T, D]."""
        tokens = functional.embedding(ids_BT, self.params[self.embed_names[0]])
        return tokens + self.params[self.embed_names[1]][: ids_BT.shape[1]]

    def as_map(self, weight: Tensor) -> Tensor:
        """Maps are stored transposed."""
        return weight.mT

    def attention_states(self, normed_BTD: Tensor, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, [B, H, T, K] each."""
        fused = self.linear(normed_BTD, layer, self.query_map)
        query, key, value = (
            part.reshape(*fused.shape[:2], self.shape.num_heads, -1).transpose(1, 2)
            for part in fused.chunk(3, dim=-1)
        )
        return query, key, value

    def head_terms(
        self, normed_GBTD: Tensor, heads: Mapping[int, Weights], layer: int
    ) -> list[Tensor]:
        """Queries, keys and values of all variants by one product each."""
        num_owners, own = len(normed_GBTD), list(heads.values())
        query, key, value = (
            heads_linear(
                normed_GBTD,
                by_owner(own, f"{kind}_weight", num_owners).mT,
                by_owner(own, f"{kind}_bias", num_owners),
                self.precision,
            )
            for kind in "qkv"
        )
        mixed = causal_attention(query, key, value, self.precision)
        mixed = mixed.view(num_owners, -1, *mixed.shape[1:])
        counts = [len(weights["q_weight"]) for weights in own]
        out_GnDK = by_owner(own, "o_weight", num_owners).mT
        return terms_by_head(mixed, out_GnDK, counts, self.precision)
