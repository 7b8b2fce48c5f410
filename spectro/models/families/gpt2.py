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
from spectro.models.precision import causal_attention, linear
from spectro.models.transformer import Transformer
from spectro.models.variant_products import (
    by_owner,
    heads_linear,
    mlp_of_variants,
    terms_by_head,
)


class GPT2(Transformer):
    """A GPT-2 model."""

    embed_names = ("transformer.wte.weight", "transformer.wpe.weight")
    layers_name = "transformer.h."

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

    def attention_in(self, resid: Tensor, layer: int) -> Tensor:
        """The first norm of a stream, [..., D]."""
        return self.layer_norm(resid, f"{self.layers_name}{layer}.ln_1")

    def mlp_in(self, resid: Tensor, layer: int) -> Tensor:
        """The second norm of a stream, [..., D]."""
        return self.layer_norm(resid, f"{self.layers_name}{layer}.ln_2")

    def final_norm(self, resid: Tensor) -> Tensor:
        """The final norm of a stream, [..., D]."""
        return self.layer_norm(resid, "transformer.ln_f")

    def linear(self, states: Tensor, layer: int, name: str) -> Tensor:
        """A layer's linear map, whose weight is stored transposed."""
        prefix = f"{self.layers_name}{layer}.{name}"
        weight_FD = self.operand(f"{prefix}.weight").T
        return linear(states, weight_FD, self.params[f"{prefix}.bias"], self.precision)

    def attention(self, normed_BTD: Tensor, layer: int) -> Tensor:
        """All heads of a layer and the output bias, [B, T, D]."""
        fused = self.linear(normed_BTD, layer, "attn.c_attn")
        query, key, value = (
            part.reshape(*fused.shape[:2], self.shape.num_heads, -1).transpose(1, 2)
            for part in fused.chunk(3, dim=-1)
        )
        mixed_BHTK = causal_attention(query, key, value, self.precision)
        return self.linear(mixed_BHTK.transpose(1, 2).flatten(2), layer, "attn.c_proj")

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

    def mlp(self, normed: Tensor, layer: int) -> Tensor:
        """The MLP of a layer, biases included, [..., D]."""
        inner = self.activation(self.linear(normed, layer, "mlp.c_fc"))
        return self.linear(inner, layer, "mlp.c_proj")

    def mlp_term(self, normed_GBTD: Tensor, weights: Weights, layer: int) -> Tensor:
        """Variants that see the same sequences share the input of the first product."""
        return mlp_of_variants(
            normed_GBTD,
            [(weights["up_weight"].mT, weights["up_bias"])],
            lambda maps: self.activation(maps[0]),
            weights["down_weight"].mT,
            weights["down_bias"],
            self.precision,
        )
