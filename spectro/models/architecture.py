"""The protocol of a group of components that can be sampled and scored.

Samplers, chains and scoring are written against this protocol alone; an architecture joins by
giving each of its groups these methods (`groups.py` finds the right one).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from spectro.models.sampled_softmax import SampledBatch, SampledSoftmax
from spectro.models.top_k_softmax import TopKFit

Weights = dict[str, Tensor]
"""A component's weights by block name; where stacked, with a leading variant dimension R."""

Index = tuple[slice, ...]
"""Ranges of a parameter's first dimensions; empty: all of it."""


@dataclass(frozen=True, kw_only=True)
class ParameterSlice:
    """A block of a component: part of one parameter of the model."""

    parameter: str
    """Its name in the checkpoint."""
    index: Index = ()
    """Which part of it."""


BlockTable = dict[str, ParameterSlice]
"""Block name → where its weights are: the definition of a component."""

CleanT = TypeVar("CleanT")


class GroupModel(Protocol[CleanT]):
    """Exact forward passes with one component displaced and all other weights at w*."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the components, in canonical order."""
        ...

    @property
    def has_prefix(self) -> bool:
        """Whether `prepare` computes anything: otherwise preparing a batch again costs nothing."""
        ...

    def weights(self, component: str) -> Weights:
        """w* of a component, by block; shared with the resident model, never written to."""
        ...

    def prepare(
        self,
        ids_BT1: Tensor,
        top_k: TopKFit | None = None,
        sampled: SampledBatch | None = None,
    ) -> CleanT:
        """Everything of a batch [B, T+1] that does not depend on the displaced weights.

        With `top_k` also the top-K softmax from which the losses of its components are taken;
        with `sampled`, of the same batch, `losses` estimates those of all components from it.
        """
        ...

    def sampled_softmax(self, size: int) -> SampledSoftmax | None:
        """The sampled softmax of S next tokens; None where U moves, or S is the vocabulary."""
        ...

    def clean_losses(self, clean: CleanT) -> Tensor:
        """ℓ(w*) of the batch by the same arithmetic as `losses`, [B, T] nats."""
        ...

    def losses(
        self, clean: CleanT, weights: Mapping[str, Weights], *, paired: bool = False
    ) -> dict[str, Tensor]:
        """Loss per token under displaced weights.

        Args:
            clean: what `prepare` gave for the batch.
            weights: component → block → [R, *block shape]; every variant of a component is a
                model in which that component alone is displaced.
            paired: whether variants have separate sequences, as chains that step together have
                minibatches: of B = R·b sequences, variant r of every component sees those from
                r·b to (r+1)·b − 1. Otherwise every variant sees all B.

        Returns:
            component → [R, B, T], or [R, b, T] if paired; in nats, differentiable in `weights`.

        Raises:
            ValueError: paired, and components differ in R, or B is no multiple of it.
        """
        ...

    def logits(self, component: str, weights: Weights, ids_BT: Tensor) -> Tensor:
        """Logits [B, T, V] of one variant, its weights not stacked, by a whole forward pass."""
        ...


def num_paired(weights: Mapping[str, Weights], num_seq: int) -> int:
    """R, the number of variants among which a batch of sequences is shared out.

    Raises ValueError as `GroupModel.losses`.
    """
    counts = {name: len(next(iter(blocks.values()))) for name, blocks in weights.items()}
    num_variants = next(iter(counts.values()))
    if set(counts.values()) != {num_variants}:
        raise ValueError(f"paired variants: components differ in their number of variants {counts}")
    if num_seq % num_variants:
        raise ValueError(
            f"paired variants: a batch of {num_seq} sequences cannot be shared out equally among "
            f"{num_variants} variants"
        )
    return num_variants


def weights_in(params: Mapping[str, Tensor], table: BlockTable) -> Weights:
    """w* of a component by block: views of the parameters."""
    return {block: params[part.parameter][part.index] for block, part in table.items()}


def displaced_params(
    params: Mapping[str, Tensor], table: BlockTable, weights: Weights
) -> dict[str, Tensor]:
    """All parameters, with a component's blocks in their places; differentiable in `weights`.

    Args:
        params: w* by name.
        table: the component's blocks.
        weights: block → displaced weights, of the block's shape.
    """
    found = dict(params)
    for block, part in table.items():
        if part.index:
            whole = found[part.parameter].clone()
            whole[part.index] = weights[block]
            found[part.parameter] = whole
        else:
            found[part.parameter] = weights[block]
    return found


def per_variant(batch: Tensor, weights: Mapping[str, Weights], *, paired: bool) -> Tensor:
    """Sequences of each variant, from a batch [B, ...]: [R, B, ...], or its share [R, b, ...]."""
    if paired:
        return batch.view(num_paired(weights, len(batch)), -1, *batch.shape[1:])
    (blocks,) = weights.values()
    return batch.expand(len(next(iter(blocks.values()))), *batch.shape)
