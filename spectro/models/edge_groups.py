"""Groups without a layer: `embed`, `unembed` and `full` (design §3).

Shapes as in gpt_neox.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spectro.models.architecture import Weights
from spectro.models.gpt_neox import GPTNeoX
from spectro.models.loss import token_losses


class EmbedGroup:
    """`GroupModel` of the embedding: no prefix, all layers shared, rows looked up per variant."""

    names = ("embed",)

    def __init__(self, model: GPTNeoX) -> None:
        self._model = model

    def weights(self, component: str) -> Weights:
        """Block `weight` [V, D]."""
        assert component == "embed"
        return {"weight": self._model.params["gpt_neox.embed_in.weight"]}

    def prepare(self, ids_BT1: Tensor) -> Tensor:
        """Nothing lies below the embedding: the batch itself."""
        return ids_BT1

    def clean_losses(self, clean: Tensor) -> Tensor:
        """ℓ(w*), [B, T]."""
        return self._model.clean_losses(clean)

    def losses(self, clean: Tensor, weights: Mapping[str, Weights]) -> dict[str, Tensor]:
        """All variants as one batch through all layers."""
        tables = weights["embed"]["weight"]
        resid = torch.stack([functional.embedding(clean[:, :-1], table) for table in tables])
        hidden = self._model.suffix(resid.flatten(0, 1), 0)
        targets = clean[:, 1:].repeat(len(tables), 1)
        return {"embed": self._model.losses(hidden, targets).view(len(tables), *clean[:, 1:].shape)}


@dataclass(frozen=True, kw_only=True)
class CleanHidden:
    """A batch up to the final layer norm, at w*."""

    hidden_ND: Tensor
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

    def prepare(self, ids_BT1: Tensor) -> CleanHidden:
        """The final-normed stream."""
        hidden = self._model.suffix(self._model.embed(ids_BT1[:, :-1]), 0)
        return CleanHidden(hidden_ND=hidden.flatten(0, 1), targets_BT=ids_BT1[:, 1:])

    def clean_losses(self, clean: CleanHidden) -> Tensor:
        """ℓ(w*), [B, T]."""
        return self._losses(clean, self.weights("unembed")["weight"])

    def losses(self, clean: CleanHidden, weights: Mapping[str, Weights]) -> dict[str, Tensor]:
        """One output product per variant."""
        tables = weights["unembed"]["weight"]
        return {"unembed": torch.stack([self._losses(clean, table) for table in tables])}

    def _losses(self, clean: CleanHidden, table_VD: Tensor) -> Tensor:
        targets = clean.targets_BT.reshape(-1)
        return token_losses(clean.hidden_ND, table_VD, targets).view(clean.targets_BT.shape)


class FullGroup:
    """`GroupModel` of the unrestricted chain: every weight moves, nothing can be shared."""

    names = ("full",)

    def __init__(self, model: GPTNeoX) -> None:
        self._model = model

    def weights(self, component: str) -> Weights:
        """All parameters under the checkpoint's own names."""
        assert component == "full"
        return dict(self._model.params)

    def prepare(self, ids_BT1: Tensor) -> Tensor:
        """The batch itself."""
        return ids_BT1

    def clean_losses(self, clean: Tensor) -> Tensor:
        """ℓ(w*), [B, T]."""
        return self._model.clean_losses(clean)

    def losses(self, clean: Tensor, weights: Mapping[str, Weights]) -> dict[str, Tensor]:
        """One whole forward pass per variant."""
        params = weights["full"]
        num_variants = len(next(iter(params.values())))
        variants = [
            self._model.with_params({name: tensor[r] for name, tensor in params.items()})
            for r in range(num_variants)
        ]
        return {"full": torch.stack([variant.clean_losses(clean) for variant in variants])}
