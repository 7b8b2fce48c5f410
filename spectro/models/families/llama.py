"""Llama and its kin (Mistral, Qwen2, Qwen3, SmolLM): RMS norms, rotary positions, gated MLPs.

    norm(x) = w x / √(mean(x²) + ε),     mlp(x) = W_down (act(W_gate x) · W_up x)

Several heads may share keys and values (grouped queries): these are then components `l0kv0`, and a
head has its queries and its part of the output map. Qwen2 has biases of queries, keys and values,
Qwen3 norms queries and keys, Mistral's and Qwen's layers may see a sliding window. Shapes as in
transformer.py; J sets of keys and values.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from spectro.models.architecture import Weights
from spectro.models.families.rotary import RotaryOf, model_rotary, no_rotary, rotate
from spectro.models.precision import causal_attention
from spectro.models.size import ModelSize
from spectro.models.transformer import Transformer
from spectro.models.variant_products import (
    by_owner,
    heads_linear,
    terms_by_head,
)


class Llama(Transformer):
    """A model of the Llama kind."""

    embed_names = ("model.embed_tokens.weight",)
    layers_name = "model.layers."
    final_norm_name = "model.norm"
    query_map, output_map = "self_attn.q_proj", "self_attn.o_proj"
    inner_maps, down_map = ("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj"
    has_layer_norm = False

    @classmethod
    def rotary_of(cls, shape: ModelSize, hf: PreTrainedModel | None) -> RotaryOf:
        """Of all dimensions of a head."""
        return no_rotary(shape.head_size) if hf is None else model_rotary(hf)

    @classmethod
    def check(cls, model: PreTrainedModel) -> None:
        """Nothing beyond the logits: every setting of the config is in them."""

    def embed(self, ids_BT: Tensor) -> Tensor:
        """Residual stream entering layer 0, [B, T, D]."""
        return functional.embedding(ids_BT, self.params[self.embed_names[0]])

    def attention_states(self, normed_BTD: Tensor, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values, repeated for the heads that share them."""
        query = self._split(self.linear(normed_BTD, layer, self.query_map))
        key_value = self._clean_key_value(normed_BTD, layer)
        each = self.shape.num_heads // self.shape.num_kv_heads
        key, value = (states.repeat_interleave(each, dim=1) for states in key_value)
        return *self._rotated(query, key, layer), value

    def head_terms(
        self, normed_GBTD: Tensor, heads: Mapping[int, Weights], layer: int
    ) -> list[Tensor]:
        """Keys and values are a head's own, or clean where several heads share them."""
        num_owners = len(normed_GBTD)
        own = list(heads.values())
        counts = [len(weights["q_weight"]) for weights in own]
        query = self._displaced(normed_GBTD, own, "q")
        if "k_weight" in own[0]:
            key = self._normed_key(self._displaced(normed_GBTD, own, "k"), layer)
            value = self._displaced(normed_GBTD, own, "v")
        else:
            each = self.shape.num_heads // self.shape.num_kv_heads
            repeats = counts if num_owners == 1 else [1] * len(counts)
            pairs = zip(heads, repeats, strict=True)
            shared = [head // each for head, number in pairs for _ in range(number)]
            states = self._clean_key_value(normed_GBTD.flatten(0, 1), layer)
            place_n = torch.tensor(shared, device=query.device)
            key, value = (each_BJTK.index_select(1, place_n) for each_BJTK in states)
        query, key = self._rotated(query, key, layer)
        window = self.shape.window(layer)
        mixed = causal_attention(query, key, value, self.precision, window=window)
        mixed = mixed.view(num_owners, -1, *mixed.shape[1:])
        return terms_by_head(mixed, by_owner(own, "o_weight", num_owners), counts, self.precision)

    def _displaced(self, normed_GBTD: Tensor, own: list[Weights], kind: str) -> Tensor:
        """Queries, keys or values of all variants, [B, n, T, K]."""
        num_owners, bias = len(normed_GBTD), None
        if f"{kind}_bias" in own[0]:
            bias = by_owner(own, f"{kind}_bias", num_owners)
        weight = by_owner(own, f"{kind}_weight", num_owners)
        return heads_linear(normed_GBTD, weight, bias, self.precision)

    def _clean_key_value(self, normed_BTD: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Keys, normed where the family does, and values at w*, [B, J, T, K] each."""
        key = self._split(self.linear(normed_BTD, layer, "self_attn.k_proj"))
        value = self._split(self.linear(normed_BTD, layer, "self_attn.v_proj"))
        return self._normed_key(key, layer), value

    def _normed_key(self, key: Tensor, layer: int) -> Tensor:
        return self._qk_norm(key, layer, "k_norm")

    def _qk_norm(self, states: Tensor, layer: int, which: str) -> Tensor:
        if not self.shape.has_qk_norm:
            return states
        return self.norm(states, f"{self.layers_name}{layer}.self_attn.{which}")

    def _split(self, states_BTE: Tensor) -> Tensor:
        """[B, T, heads · K] → [B, heads, T, K]."""
        num_seq, num_pos, _ = states_BTE.shape
        return states_BTE.view(num_seq, num_pos, -1, self.shape.head_size).transpose(1, 2)

    def _rotated(self, query: Tensor, key: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Queries, which are not normed yet, and keys; of heads or variants, [B, n, T, K]."""
        rotary = self.rotary(query.shape[-2])
        query = rotate(self._qk_norm(query, layer, "q_norm"), rotary)
        return query, rotate(key, rotary)
