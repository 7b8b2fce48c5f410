"""Gemma, first version: the Llama kind with norms of 1 + w, and embeddings scaled by √D.

Later versions norm the sums of heads and cap logits: the universal engine computes them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spectro.models.families.llama import Llama


class Gemma(Llama):
    """A Gemma model."""

    def embed(self, ids_BT: Tensor) -> Tensor:
        """Scaled residual stream entering layer 0, [B, T, D]."""
        resid = super().embed(ids_BT)
        scale = torch.tensor(
            self.shape.hidden_size**0.5, dtype=torch.float32
        )  # as the model has it
        return resid * scale.to(resid)

    def norm_gain(self, name: str) -> Tensor:
        """The stored weight is what is added to 1."""
        return 1 + self.params[f"{name}.weight"]
