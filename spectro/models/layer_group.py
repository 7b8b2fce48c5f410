"""Heads and MLP of one layer, displaced one at a time (design §3.1–3.4).

In a parallel-residual layer  x' = x + b + Σ_h head_h(x) + mlp(x),  so a displaced term is
exchanged by addition and everything below and beside it is computed once. Without parallel
residual the MLP reads x + b + Σ_h head_h(x), so a displaced head recomputes the (unchanged) MLP
once per variant. All variants of all components then share the layers above as one batch.

Shapes as in gpt_neox.py; G owners: one, where all variants see all sequences, or R, where each has
its own (`paired`); n variants of heads per owner: all of every head, or one of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from spectro.models.architecture import Weights, num_paired
from spectro.models.components import Component, ComponentKind, Group
from spectro.models.gpt_neox import GPTNeoX
from spectro.models.precision import batched_linear, linear
from spectro.models.sampled_softmax import SampledBatch, SampledSoftmax
from spectro.models.top_k_softmax import TopKFit
from spectro.models.variant_losses import TopKBatch, losses_by_component, top_k_batch

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
    """The stream with all heads added, before the MLP's output."""
    out_BTD: Tensor
    """The stream that leaves the layer."""
    head_terms: dict[str, Tensor]
    """Head name → its clean term [B, T, D]."""
    softmax: TopKBatch | SampledBatch | None = None
    """Top-K or sampled softmax, where losses may be taken from it."""


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

    def sampled_softmax(self, size: int) -> SampledSoftmax | None:
        """The model's own."""
        return self._model.sampled_softmax(size)

    def prepare(
        self,
        ids_BT1: Tensor,
        top_k: TopKFit | None = None,
        sampled: SampledBatch | None = None,
    ) -> CleanLayer:
        """Run the layers below, this layer, and every head of the group by itself."""
        model, layer = self._model, self._layer
        resid = model.prefix(ids_BT1[:, :-1], layer)
        attention_in = model.normed(resid, layer, "input_layernorm")
        middle = resid + model.attention(attention_in, layer)
        mlp_from = resid if model.shape.parallel_residual else middle
        mlp_in = model.normed(mlp_from, layer, "post_attention_layernorm")
        clean_heads = {c.name: _stacked_once(self._head_weights(c)) for c in self._heads}
        terms = self._head_terms(attention_in[None], clean_heads) if clean_heads else {}
        out = middle + model.mlp(mlp_in, layer)
        targets = ids_BT1[:, 1:]
        return CleanLayer(
            targets_BT=targets,
            attention_in_BTD=attention_in,
            mlp_in_BTD=mlp_in,
            middle_BTD=middle,
            out_BTD=out,
            head_terms={name: term[0] for name, term in terms.items()},
            softmax=sampled or top_k_batch(model, out, layer + 1, targets, self.names, top_k),
        )

    def clean_losses(self, clean: CleanLayer) -> Tensor:
        """ℓ(w*) through the shared suffix, [B, T]."""
        if clean.softmax is not None:
            return clean.softmax.clean_losses
        hidden = self._model.suffix(clean.out_BTD, self._layer + 1)
        return self._model.losses(hidden, clean.targets_BT)

    def losses(
        self, clean: CleanLayer, weights: Mapping[str, Weights], *, paired: bool = False
    ) -> dict[str, Tensor]:
        """All variants of all given components as one batch through the layers above."""
        num_owners = num_paired(weights, len(clean.targets_BT)) if paired else 1
        heads = {c.name: weights[c.name] for c in self._heads if c.name in weights}
        streams: dict[str, Tensor] = {}
        if heads:
            owned = _owned(clean.attention_in_BTD, num_owners)
            for name, term in self._head_terms(owned, heads).items():
                streams[name] = self._with_head(clean, name, term, num_owners)
        for name in weights.keys() - heads.keys():
            term = self._mlp_term(_owned(clean.mlp_in_BTD, num_owners), weights[name])
            streams[name] = _owned(clean.middle_BTD, num_owners) + term
        return self._suffix_losses(clean, streams, num_owners)

    def _with_head(
        self, clean: CleanLayer, name: str, term_RBTD: Tensor, num_owners: int
    ) -> Tensor:
        is_parallel = self._model.shape.parallel_residual
        clean_BTD = (clean.out_BTD if is_parallel else clean.middle_BTD) - clean.head_terms[name]
        stream_RBTD = _owned(clean_BTD, num_owners) + term_RBTD
        if is_parallel:
            return stream_RBTD
        normed = self._model.normed(stream_RBTD, self._layer, "post_attention_layernorm")
        return stream_RBTD + self._model.mlp(normed, self._layer)

    def _suffix_losses(
        self, clean: CleanLayer, streams: dict[str, Tensor], num_owners: int
    ) -> dict[str, Tensor]:
        counts = [len(stream) for stream in streams.values()]
        joined = (
            torch.cat(list(streams.values())) if len(streams) > 1 else next(iter(streams.values()))
        )
        hidden = self._model.suffix(joined.flatten(0, 1), self._layer + 1)
        hidden_by_name = dict(
            zip(streams, torch.split(hidden.view(joined.shape), counts), strict=True)
        )
        targets_GbT = _owned(clean.targets_BT, num_owners)
        return losses_by_component(self._model, hidden_by_name, targets_GbT, clean.softmax)

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

    def _head_terms(self, normed_GBTD: Tensor, heads: Mapping[str, Weights]) -> dict[str, Tensor]:
        """Terms of heads, [R, B, T, D] each, without output bias.

        One product gives queries, keys and values of all heads and variants that see the same
        sequences; these variants, n of them, take the place of heads in the attention.
        """
        num_owners, num_seq, num_pos, hidden = normed_GBTD.shape
        qkv_weight, dense = (
            _variants(heads, b, num_owners) for b in ("qkv_weight", "dense_weight")
        )
        num_variants = qkv_weight.shape[1]
        qkv = self._own_linear(normed_GBTD, qkv_weight.flatten(1, 2), None)
        if all("qkv_bias" in w for w in heads.values()):
            qkv = qkv + _variants(heads, "qkv_bias", num_owners).flatten(1)[:, None]
        qkv = qkv.view(num_owners * num_seq, num_pos, num_variants, -1).transpose(1, 2)
        mixed = self._model.attend(qkv).view(num_owners, num_seq, num_variants, num_pos, -1)
        mixed = mixed.transpose(1, 2).reshape(num_owners * num_variants, num_seq * num_pos, -1)
        terms = batched_linear(mixed, dense.flatten(0, 1), None, self._model.precision)
        terms = terms.view(num_owners, num_variants, num_seq, num_pos, hidden)
        if num_owners > 1:
            return dict(zip(heads, terms.unbind(1), strict=True))
        counts = [len(w["qkv_weight"]) for w in heads.values()]
        return dict(zip(heads, torch.split(terms[0], counts), strict=True))

    def _mlp_term(self, normed_GBTD: Tensor, mlp: Weights) -> Tensor:
        """Term of an MLP, [R, B, T, D]: variants that see the same sequences share the input of
        the first product."""
        num_owners, num_seq, num_pos, hidden = normed_GBTD.shape
        num_variants, inner, _ = mlp["up_weight"].shape
        each = num_variants // num_owners
        up = self._own_linear(
            normed_GBTD,
            mlp["up_weight"].reshape(num_owners, each * inner, hidden),
            mlp["up_bias"].reshape(num_owners, each * inner),
        )
        up = self._model.activation(up).view(num_owners, -1, each, inner).transpose(1, 2)
        down = batched_linear(
            up.flatten(0, 1), mlp["down_weight"], mlp["down_bias"], self._model.precision
        )
        return down.view(num_variants, num_seq, num_pos, hidden)

    def _own_linear(
        self, states_GBTD: Tensor, weight_GFD: Tensor, bias_GF: Tensor | None
    ) -> Tensor:
        """One linear map per owner, [G, B·T, F]."""
        states_GND = states_GBTD.flatten(1, 2)
        if len(states_GND) > 1:
            return batched_linear(states_GND, weight_GFD, bias_GF, self._model.precision)
        bias_F = None if bias_GF is None else bias_GF[0]
        return linear(states_GND[0], weight_GFD[0], bias_F, self._model.precision)[None]


def _owned(batch_BTD: Tensor, num_owners: int) -> Tensor:
    """[B, T, D] → [G, B/G, T, D]: the sequences that the variants of one owner see."""
    return batch_BTD.view(num_owners, -1, *batch_BTD.shape[1:])


def _variants(heads: Mapping[str, Weights], block: str, num_owners: int) -> Tensor:
    """A block of all variants by owner, [G, n, *block shape]."""
    tensors = [weights[block] for weights in heads.values()]
    return torch.stack(tensors, dim=1) if num_owners > 1 else torch.cat(tensors)[None]


def _stacked_once(weights: Weights) -> Weights:
    return {block: tensor[None] for block, tensor in weights.items()}
