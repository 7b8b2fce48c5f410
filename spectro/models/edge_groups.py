"""Groups without a layer: `embed`, `unembed` and `full` (design §3).

Shapes as in gpt_neox.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spectro.models.architecture import Weights, num_paired
from spectro.models.gpt_neox import GPTNeoX
from spectro.models.sampled_softmax import SampledBatch, SampledSoftmax
from spectro.models.token_loss import token_losses
from spectro.models.top_k_softmax import TopKFit
from spectro.models.variant_losses import TopKBatch, losses_by_component, top_k_batch


@dataclass(frozen=True, kw_only=True)
class CleanIds:
    """A batch, with its top-K or sampled softmax where losses may be taken from it."""

    ids_BT1: Tensor
    softmax: TopKBatch | SampledBatch | None


class EmbedGroup:
    """`GroupModel` of the embedding: no prefix, all layers shared, rows looked up per variant."""

    names = ("embed",)

    def __init__(self, model: GPTNeoX) -> None:
        self._model = model

    def weights(self, component: str) -> Weights:
        """Block `weight` [V, D]."""
        assert component == "embed"
        return {"weight": self._model.params["gpt_neox.embed_in.weight"]}

    def sampled_softmax(self, size: int) -> SampledSoftmax | None:
        """The model's own."""
        return self._model.sampled_softmax(size)

    def prepare(
        self,
        ids_BT1: Tensor,
        top_k: TopKFit | None = None,
        sampled: SampledBatch | None = None,
    ) -> CleanIds:
        """The batch itself: no layers precede the embedding."""
        resid, targets = self._model.embed(ids_BT1[:, :-1]), ids_BT1[:, 1:]
        softmax = sampled or top_k_batch(self._model, resid, 0, targets, self.names, top_k)
        return CleanIds(ids_BT1=ids_BT1, softmax=softmax)

    def clean_losses(self, clean: CleanIds) -> Tensor:
        """ℓ(w*), [B, T]."""
        if clean.softmax is not None:
            return clean.softmax.clean_losses
        return self._model.clean_losses(clean.ids_BT1)

    def losses(
        self, clean: CleanIds, weights: Mapping[str, Weights], *, paired: bool = False
    ) -> dict[str, Tensor]:
        """All variants as one batch through all layers."""
        tables = weights["embed"]["weight"]
        ids_RBT1 = _per_variant(clean.ids_BT1, weights, paired=paired)
        streams = [
            functional.embedding(ids_BT1[:, :-1], table)
            for ids_BT1, table in zip(ids_RBT1, tables, strict=True)
        ]
        resid = torch.stack(streams)
        hidden = self._model.suffix(resid.flatten(0, 1), 0).view(resid.shape)
        targets_RbT = ids_RBT1[..., 1:]
        return losses_by_component(self._model, {"embed": hidden}, targets_RbT, clean.softmax)


@dataclass(frozen=True, kw_only=True)
class CleanHidden:
    """A batch up to the final layer norm, at w*."""

    hidden_BTD: Tensor
    targets_BT: Tensor


class UnembedGroup:
    """`GroupModel` of the unembedding: everything but the last product is prefix."""

    names = ("unembed",)

    def __init__(self, model: GPTNeoX) -> None:
        self._model = model

    def weights(self, component: str) -> Weights:
        """Block `weight` [V, D]."""
        assert component == "unembed"
        return {"weight": self._model.params[self._model.unembed_name]}

    def sampled_softmax(self, size: int) -> None:
        """None where the output product moves."""

    def prepare(
        self,
        ids_BT1: Tensor,
        top_k: TopKFit | None = None,
        sampled: SampledBatch | None = None,
    ) -> CleanHidden:
        """The final-normed stream; the exact softmax where the output product moves."""
        hidden = self._model.suffix(self._model.embed(ids_BT1[:, :-1]), 0)
        return CleanHidden(hidden_BTD=hidden, targets_BT=ids_BT1[:, 1:])

    def clean_losses(self, clean: CleanHidden) -> Tensor:
        """ℓ(w*), [B, T]."""
        table = self._model.operand(self._model.unembed_name)
        return self._losses(clean.hidden_BTD, table, clean.targets_BT)

    def losses(
        self, clean: CleanHidden, weights: Mapping[str, Weights], *, paired: bool = False
    ) -> dict[str, Tensor]:
        """One output product per variant."""
        tables = weights["unembed"]["weight"]
        hidden = _per_variant(clean.hidden_BTD, weights, paired=paired)
        targets = _per_variant(clean.targets_BT, weights, paired=paired)
        seen = zip(hidden, tables, targets, strict=True)
        return {"unembed": torch.stack([self._losses(*each) for each in seen])}

    def _losses(self, hidden_BTD: Tensor, table_VD: Tensor, targets_BT: Tensor) -> Tensor:
        losses = token_losses(
            hidden_BTD.flatten(0, 1), table_VD, targets_BT.reshape(-1), self._model.precision
        )
        return losses.view(targets_BT.shape)


class FullGroup:
    """`GroupModel` of the unrestricted chain: every weight moves, nothing can be shared."""

    names = ("full",)

    def __init__(self, model: GPTNeoX) -> None:
        self._model = model

    def weights(self, component: str) -> Weights:
        """All parameters under the checkpoint's own names."""
        assert component == "full"
        return dict(self._model.params)

    def sampled_softmax(self, size: int) -> None:
        """None where every weight moves."""

    def prepare(
        self,
        ids_BT1: Tensor,
        top_k: TopKFit | None = None,
        sampled: SampledBatch | None = None,
    ) -> Tensor:
        """The batch itself; the exact softmax where every weight moves."""
        return ids_BT1

    def clean_losses(self, clean: Tensor) -> Tensor:
        """ℓ(w*), [B, T]."""
        return self._model.clean_losses(clean)

    def losses(
        self, clean: Tensor, weights: Mapping[str, Weights], *, paired: bool = False
    ) -> dict[str, Tensor]:
        """One whole forward pass per variant."""
        params = weights["full"]
        num_variants = len(next(iter(params.values())))
        variants = [
            self._model.with_params({name: tensor[r] for name, tensor in params.items()})
            for r in range(num_variants)
        ]
        ids_RBT1 = _per_variant(clean, weights, paired=paired)
        seen = zip(variants, ids_RBT1, strict=True)
        return {"full": torch.stack([variant.clean_losses(ids_BT1) for variant, ids_BT1 in seen])}


def _per_variant(batch: Tensor, weights: Mapping[str, Weights], *, paired: bool) -> Tensor:
    """Sequences of each variant, from a batch [B, ...]: [R, B, ...], or its share [R, b, ...]."""
    (blocks,) = weights.values()
    if paired:
        return batch.view(num_paired(weights, len(batch)), -1, *batch.shape[1:])
    return batch.expand(len(next(iter(blocks.values()))), *batch.shape)
