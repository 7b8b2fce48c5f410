"""A component of whichever stages: embedding, unembedding, all weights, or what a user defines.

Stages that read none of its parameters run once for all variants joined (transformer.py); the
others run for each variant with its weights. What precedes the first of them is computed once.
Exact for every component; a layer's heads and MLP are faster in `layer_group.py`.

Shapes as in transformer.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from spectro.models.architecture import Weights, per_variant, weights_in
from spectro.models.components import Component
from spectro.models.sampled_softmax import SampledBatch, SampledSoftmax
from spectro.models.top_k_softmax import TopKFit
from spectro.models.transformer import Transformer
from spectro.models.variant_losses import TopKBatch, losses_by_component, top_k_batch


@dataclass(frozen=True, kw_only=True)
class CleanState:
    """A batch up to the first displaced stage, at w*."""

    state: Tensor
    """Ids [B, T], or the stream [B, T, D] that enters the stage."""
    targets_BT: Tensor
    softmax: TopKBatch | SampledBatch | None
    """Top-K or sampled softmax, where losses may be taken from it."""


class StagesGroup:
    """`GroupModel` of one component."""

    def __init__(self, model: Transformer, component: Component) -> None:
        self._model = model
        self.names = (component.name,)
        self._table = model.blocks(component)
        stages = set().union(*(model.stages_of(p.parameter) for p in self._table.values()))
        self._last = model.num_stages - 1
        self._first = min(stages)
        self._moved = stages
        """Stages that read a displaced parameter."""

    @property
    def has_prefix(self) -> bool:
        """Whether there are stages below the first that moves."""
        return self._first > 0

    def weights(self, component: str) -> Weights:
        """Blocks of the component (see `Transformer.blocks`)."""
        assert component in self.names
        return weights_in(self._model.params, self._table)

    def sampled_softmax(self, size: int) -> SampledSoftmax | None:
        """The model's own; None where the unembedding moves."""
        return None if self._last in self._moved else self._model.sampled_softmax(size)

    def prepare(
        self,
        ids_BT1: Tensor,
        top_k: TopKFit | None = None,
        sampled: SampledBatch | None = None,
    ) -> CleanState:
        """Run the stages below; the exact softmax where the unembedding moves."""
        model, targets = self._model, ids_BT1[:, 1:]
        state = model.stages(ids_BT1[:, :-1], 0, min(self._first, self._last))
        softmax: TopKBatch | SampledBatch | None = None
        if self._last not in self._moved:
            softmax = sampled or top_k_batch(
                model,
                lambda: model.stages(state, self._first, self._last),
                targets,
                self.names,
                top_k,
            )
        return CleanState(state=state, targets_BT=targets, softmax=softmax)

    def clean_losses(self, clean: CleanState) -> Tensor:
        """ℓ(w*), [B, T]."""
        if clean.softmax is not None:
            return clean.softmax.clean_losses
        hidden = self._model.stages(clean.state, self._first, self._last)
        return self._model.losses(hidden, clean.targets_BT)

    def losses(
        self, clean: CleanState, weights: Mapping[str, Weights], *, paired: bool = False
    ) -> dict[str, Tensor]:
        """Stages that do not move as one batch, the others variant by variant."""
        ((name, blocks),) = weights.items()
        variants = [
            self._model.displaced(self._table, {block: own[r] for block, own in blocks.items()})
            for r in range(len(next(iter(blocks.values()))))
        ]
        states = per_variant(clean.state, weights, paired=paired)
        targets_RbT = per_variant(clean.targets_BT, weights, paired=paired)
        for moves, first, stop in self._segments():
            if moves and stop > self._last:
                return {name: _losses_of(variants, states, targets_RbT, first, self._last)}
            states = self._run(variants if moves else None, states, first, stop)
        return losses_by_component(self._model, {name: states}, targets_RbT, clean.softmax)

    def logits(self, component: str, weights: Weights, ids_BT: Tensor) -> Tensor:
        """Of one variant, [B, T, V]."""
        assert component in self.names
        return self._model.displaced(self._table, weights).logits(ids_BT)

    def _segments(self) -> Iterator[tuple[bool, int, int]]:
        """Runs of stages, from the first that moves: whether they move, first and stop."""
        stages = range(self._first, self._last + 1)
        for moves, found in groupby(stages, key=lambda stage: stage in self._moved):
            own = list(found)
            if moves or own[0] < self._last:
                yield moves, own[0], own[-1] + 1 if moves else min(own[-1] + 1, self._last)

    def _run(
        self, variants: list[Transformer] | None, states: Tensor, first: int, stop: int
    ) -> Tensor:
        """States of all variants, [R, b, T, D], after some stages: of each, or of all as one."""
        if variants is not None:
            pairs = zip(variants, states, strict=True)
            return torch.stack([own.stages(state, first, stop) for own, state in pairs])
        joined = self._model.stages(states.flatten(0, 1), first, stop)
        return joined.view(*states.shape[:2], *joined.shape[1:])


def _losses_of(
    variants: list[Transformer], states: Tensor, targets_RbT: Tensor, first: int, last: int
) -> Tensor:
    """Losses of variants whose unembedding moves, [R, b, T]."""
    return torch.stack(
        [
            own.losses(own.stages(state, first, last), targets_bT)
            for own, state, targets_bT in zip(variants, states, targets_RbT, strict=True)
        ]
    )
