"""What a group of components must offer to be sampled and scored.

Samplers, chains and scoring are written against this protocol alone; an architecture joins by
giving each of its groups these four methods (`groups.py` finds the right one).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

from torch import Tensor

Weights = dict[str, Tensor]
"""A component's weights by block name; where stacked, with a leading variant dimension R."""

CleanT = TypeVar("CleanT")


class GroupModel(Protocol[CleanT]):
    """Exact forward passes with one component displaced and all other weights at w*."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the components, in canonical order."""
        ...

    def weights(self, component: str) -> Weights:
        """w* of a component, by block; shared with the resident model, never written to."""
        ...

    def prepare(self, ids_BT1: Tensor) -> CleanT:
        """Everything of a batch [B, T+1] that does not depend on the displaced weights."""
        ...

    def clean_losses(self, clean: CleanT) -> Tensor:
        """ℓ(w*) of the batch by the same arithmetic as `losses`, [B, T] nats."""
        ...

    def losses(self, clean: CleanT, weights: Mapping[str, Weights]) -> dict[str, Tensor]:
        """Loss per token under displaced weights.

        Args:
            clean: what `prepare` gave for the batch.
            weights: component → block → [R, *block shape]; every variant of a component is a
                model in which that component alone is displaced.

        Returns:
            component → [R, B, T] in nats, differentiable in `weights`.
        """
        ...
