"""Heads and MLP of one layer, displaced one at a time (design §3.1–3.4).

In a parallel-residual layer  x' = x + b + Σ_h head_h(x) + mlp(x),  so a displaced term is
exchanged by addition and everything below and beside it is computed once. Without parallel
residual the MLP reads x + b + Σ_h head_h(x), so a displaced head recomputes the (unchanged) MLP
once per variant. All variants of all components then share the layers above as one batch.

Shapes as in gpt_neox.py; C components (heads) of the group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spectro.models.architecture import Weights
from spectro.models.components import Component, ComponentKind, Group
from spectro.models.gpt_neox import GPTNeoX

MLP_BLOCKS = {
    "up_weight": "mlp.dense_h_to_4h.weight",
    "up_bias": "mlp.dense_h_to_4h.bias",
    "down_weight": "mlp.dense_4h_to_h.weight",
    "down_bias": "mlp.dense_4h_to_h.bias",
}


@dataclass(frozen=True, kw_only=True)
class CleanLayer:
    """A batch up to and around the layer, at w*."""

    targets_BT: Tensor
    attention_in_BTD: Tensor
    mlp_in_BTD: Tensor
    middle_BTD: Tensor
    """What the MLP's output is added to: the stream with all heads in it."""
    out_BTD: Tensor
    """The stream that leaves the layer."""
    head_terms: dict[str, Tensor]
    """Head name → its clean term [B, T, D]."""


class LayerGroup:
    """`GroupModel` of a layer's heads and MLP."""

    def __init__(self, model: GPTNeoX, group: Group) -> None:
        self._model = model
        layer = group.components[0].layer
        assert layer is not None and all(c.layer == layer for c in group.components)
        self._layer = layer
        self._components = {c.name: c for c in group.components}
        self._heads = [c for c in group.components if c.kind is ComponentKind.HEAD]
        self.names = tuple(self._components)

    def weights(self, component: str) -> Weights:
        """Blocks of a head (`qkv_weight` [3K, D], `qkv_bias` [3K], `dense_weight` [D, K]) or MLP.

        The bias of the attention output belongs to no head: it stays at w*.
        """
        if self._components[component].kind is ComponentKind.MLP:
            return {
                block: self._model.layer_param(self._layer, name)
                for block, name in MLP_BLOCKS.items()
            }
        return self._head_weights(self._components[component])

    def prepare(self, ids_BT1: Tensor) -> CleanLayer:
        """Run the layers below, this layer, and every head of the group by itself."""
        model, layer = self._model, self._layer
        resid = model.prefix(ids_BT1[:, :-1], layer)
        attention_in = model.normed(resid, layer, "input_layernorm")
        middle = resid + model.attention(attention_in, layer)
        mlp_from = resid if model.shape.parallel_residual else middle
        mlp_in = model.normed(mlp_from, layer, "post_attention_layernorm")
        clean_heads = {c.name: _stacked_once(self._head_weights(c)) for c in self._heads}
        terms = self._head_terms(attention_in, clean_heads) if clean_heads else {}
        return CleanLayer(
            targets_BT=ids_BT1[:, 1:],
            attention_in_BTD=attention_in,
            mlp_in_BTD=mlp_in,
            middle_BTD=middle,
            out_BTD=middle + model.mlp(mlp_in, layer),
            head_terms={name: term[0] for name, term in terms.items()},
        )

    def clean_losses(self, clean: CleanLayer) -> Tensor:
        """ℓ(w*) through the shared suffix, [B, T]."""
        hidden = self._model.suffix(clean.out_BTD, self._layer + 1)
        return self._model.losses(hidden, clean.targets_BT)

    def losses(self, clean: CleanLayer, weights: Mapping[str, Weights]) -> dict[str, Tensor]:
        """All variants of all given components as one batch through the layers above."""
        heads = {c.name: weights[c.name] for c in self._heads if c.name in weights}
        streams: dict[str, Tensor] = {}
        if heads:
            for name, term in self._head_terms(clean.attention_in_BTD, heads).items():
                streams[name] = self._with_head(clean, name, term)
        for name in weights.keys() - heads.keys():
            term = self._mlp_term(clean.mlp_in_BTD, weights[name])
            streams[name] = clean.middle_BTD + term
        return self._suffix_losses(clean, streams)

    def _with_head(self, clean: CleanLayer, name: str, term_RBTD: Tensor) -> Tensor:
        if self._model.shape.parallel_residual:
            return (clean.out_BTD - clean.head_terms[name]) + term_RBTD
        middle = (clean.middle_BTD - clean.head_terms[name]) + term_RBTD
        normed = self._model.normed(middle, self._layer, "post_attention_layernorm")
        return middle + self._model.mlp(normed, self._layer)

    def _suffix_losses(self, clean: CleanLayer, streams: dict[str, Tensor]) -> dict[str, Tensor]:
        num_seq, num_pos = clean.targets_BT.shape
        counts = [len(stream) for stream in streams.values()]
        joined = (
            torch.cat(list(streams.values())) if len(streams) > 1 else next(iter(streams.values()))
        )
        hidden = self._model.suffix(joined.flatten(0, 1), self._layer + 1)
        targets = clean.targets_BT.repeat(sum(counts), 1)
        losses = self._model.losses(hidden, targets).view(-1, num_seq, num_pos)
        return dict(zip(streams, torch.split(losses, counts), strict=True))

    def _head_weights(self, component: Component) -> Weights:
        head, size = component.head, self._model.shape.head_size
        assert head is not None
        rows, columns = (
            slice(3 * size * head, 3 * size * (head + 1)),
            slice(size * head, size * (head + 1)),
        )
        qkv = self._model.layer_param(self._layer, "attention.query_key_value.weight")
        bias = self._model.layer_bias(self._layer, "attention.query_key_value.bias")
        dense = self._model.layer_param(self._layer, "attention.dense.weight")
        blocks = {"qkv_weight": qkv[rows], "dense_weight": dense[:, columns]}
        return blocks if bias is None else {**blocks, "qkv_bias": bias[rows]}

    def _head_terms(self, normed_BTD: Tensor, heads: Mapping[str, Weights]) -> dict[str, Tensor]:
        """Terms of heads, [R, B, T, D] each, without output bias.

        One product gives queries, keys and values of all heads and variants; variants take
        the place of heads in the attention.
        """
        num_seq, num_pos, hidden = normed_BTD.shape
        counts = [len(w["qkv_weight"]) for w in heads.values()]
        qkv_weight = torch.cat([w["qkv_weight"] for w in heads.values()])
        qkv = normed_BTD @ qkv_weight.flatten(0, 1).T
        if all("qkv_bias" in w for w in heads.values()):
            qkv = qkv + torch.cat([w["qkv_bias"] for w in heads.values()]).flatten()
        qkv_BRT3K = qkv.view(num_seq, num_pos, sum(counts), -1).transpose(1, 2)
        mixed_BRTK = self._model.attend(qkv_BRT3K)
        mixed = mixed_BRTK.transpose(0, 1).reshape(sum(counts), num_seq * num_pos, -1)
        dense = torch.cat([w["dense_weight"] for w in heads.values()])
        terms = torch.bmm(mixed, dense.transpose(1, 2)).view(-1, num_seq, num_pos, hidden)
        return dict(zip(heads, torch.split(terms, counts), strict=True))

    def _mlp_term(self, normed_BTD: Tensor, mlp: Weights) -> Tensor:
        """Term of an MLP, [R, B, T, D]: the first product shares its input between variants."""
        num_seq, num_pos, hidden = normed_BTD.shape
        num_variants, inner, _ = mlp["up_weight"].shape
        up = functional.linear(normed_BTD, mlp["up_weight"].flatten(0, 1), mlp["up_bias"].flatten())
        up = self._model.shape.activation(up).view(num_seq * num_pos, num_variants, inner)
        down = torch.baddbmm(
            mlp["down_bias"][:, None], up.transpose(0, 1), mlp["down_weight"].transpose(1, 2)
        )
        return down.view(num_variants, num_seq, num_pos, hidden)


def _stacked_once(weights: Weights) -> Weights:
    return {block: tensor[None] for block, tensor in weights.items()}
