"""Components of one layer: heads and MLP displaced one at a time (design §3.1–3.4).

In a parallel-residual layer  x' = x + b + Σ_h head_h(x) + mlp(x),  so a displaced term is
exchanged by addition and everything below and beside it is computed once. Without parallel
residual the MLP reads x + b + Σ_h head_h(x), so a displaced head recomputes the (unchanged) MLP
once per variant. Variants of other components, such as keys and values that heads share, run the
layer each. All variants of all components then share the layers above as one batch.

Shapes as in transformer.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from spectro.models.architecture import Weights, num_paired, weights_in
from spectro.models.components import ComponentKind, Group
from spectro.models.sampled_softmax import SampledBatch, SampledSoftmax
from spectro.models.top_k_softmax import TopKFit
from spectro.models.transformer import Transformer
from spectro.models.variant_losses import TopKBatch, losses_by_component, top_k_batch
from spectro.models.variant_products import owned


@dataclass(frozen=True, kw_only=True)
class CleanLayer:
    """A batch up to and around the layer, at w*."""

    targets_BT: Tensor
    resid_BTD: Tensor | None
    """The stream that enters the layer, where a component displaces the layer as a whole."""
    attention_in_BTD: Tensor
    mlp_in_BTD: Tensor | None
    middle_BTD: Tensor
    """The stream with all heads added, before the MLP's output."""
    out_BTD: Tensor
    """The stream that leaves the layer."""
    head_terms: dict[str, Tensor]
    """Head name → its clean term [B, T, D]."""
    softmax: TopKBatch | SampledBatch | None = None
    """Top-K or sampled softmax, where losses may be taken from it."""


class LayerGroup:
    """`GroupModel` of a layer's components."""

    has_prefix = True

    def __init__(self, model: Transformer, group: Group) -> None:
        self._model = model
        layer = group.components[0].layer
        assert layer is not None and all(c.layer == layer for c in group.components)
        self._layer = layer
        self._tables = {c.name: model.blocks(c) for c in group.components}
        kinds = {c.name: c.kind for c in group.components}
        self._index_of = {
            c.name: c.head
            for c in group.components
            if c.kind is ComponentKind.HEAD and c.head is not None
        }
        """Head → its index in the layer."""
        self._mlps = {name for name, kind in kinds.items() if kind is ComponentKind.MLP}
        self._others = kinds.keys() - self._index_of.keys() - self._mlps
        """Components whose variants run the whole layer each."""
        self.names = tuple(self._tables)

    def weights(self, component: str) -> Weights:
        """Blocks as the family has them; the attention's output bias belongs to no head."""
        return weights_in(self._model.params, self._tables[component])

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
        attention_in = model.attention_in(resid, layer)
        middle = resid + model.attention(attention_in, layer)
        clean_heads = {name: _stacked_once(self.weights(name)) for name in self._index_of}
        mlp_in = None
        if model.shape.has_mlp:
            mlp_in = model.mlp_in(resid if model.shape.parallel_residual else middle, layer)
        terms = self._head_terms(attention_in[None], clean_heads) if clean_heads else {}
        out = middle if mlp_in is None else middle + model.mlp(mlp_in, layer)
        targets = ids_BT1[:, 1:]
        return CleanLayer(
            targets_BT=targets,
            resid_BTD=resid if self._others else None,
            attention_in_BTD=attention_in,
            mlp_in_BTD=mlp_in,
            middle_BTD=middle,
            out_BTD=out,
            head_terms={name: term[0] for name, term in terms.items()},
            softmax=sampled
            or top_k_batch(model, lambda: model.suffix(out, layer + 1), targets, self.names, top_k),
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
        heads = {name: weights[name] for name in self._index_of if name in weights}
        streams: dict[str, Tensor] = {}
        if heads:
            of_owner = owned(clean.attention_in_BTD, num_owners)
            for name, term in self._head_terms(of_owner, heads).items():
                streams[name] = self._with_head(clean, name, term, num_owners)
        for name in weights.keys() & self._others:
            streams[name] = self._displaced_layer(clean, name, weights[name], num_owners)
        for name in weights.keys() & self._mlps:
            assert clean.mlp_in_BTD is not None
            mlp_in = owned(clean.mlp_in_BTD, num_owners)
            term = self._model.mlp_term(mlp_in, weights[name], self._layer)
            streams[name] = owned(clean.middle_BTD, num_owners) + term
        return self._suffix_losses(clean, streams, num_owners)

    def logits(self, component: str, weights: Weights, ids_BT: Tensor) -> Tensor:
        """Of one variant, [B, T, V]."""
        return self._model.displaced(self._tables[component], weights).logits(ids_BT)

    def _displaced_layer(
        self, clean: CleanLayer, name: str, weights: Weights, num_owners: int
    ) -> Tensor:
        """The stream that leaves the layer with each variant's weights, [R, B/G, T, D]."""
        assert clean.resid_BTD is not None
        num_variants = len(next(iter(weights.values())))
        entering = owned(clean.resid_BTD, num_owners).expand(num_variants, -1, -1, -1)
        table = self._tables[name]
        return torch.stack(
            [
                self._model.displaced(
                    table, {block: tensor[r] for block, tensor in weights.items()}
                ).layer(entering[r], self._layer)
                for r in range(num_variants)
            ]
        )

    def _with_head(
        self, clean: CleanLayer, name: str, term_RBTD: Tensor, num_owners: int
    ) -> Tensor:
        shape = self._model.shape
        is_parallel = shape.parallel_residual or not shape.has_mlp
        clean_BTD = (clean.out_BTD if is_parallel else clean.middle_BTD) - clean.head_terms[name]
        stream_RBTD = owned(clean_BTD, num_owners) + term_RBTD
        if is_parallel:
            return stream_RBTD
        normed = self._model.mlp_in(stream_RBTD, self._layer)
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
        targets_GbT = owned(clean.targets_BT, num_owners)
        return losses_by_component(self._model, hidden_by_name, targets_GbT, clean.softmax)

    def _head_terms(self, normed_GBTD: Tensor, heads: Mapping[str, Weights]) -> dict[str, Tensor]:
        """Terms of heads' variants by name, [R, B, T, D] each, without output bias."""
        by_index = {self._index_of[name]: weights for name, weights in heads.items()}
        terms = self._model.head_terms(normed_GBTD, by_index, self._layer)
        return dict(zip(heads, terms, strict=True))


def _stacked_once(weights: Weights) -> Weights:
    return {block: tensor[None] for block, tensor in weights.items()}
