"""Granite: the Llama kind with fixed factors on the embedding, the attention, both terms of a layer
and the logits.

    x₀ = e E[y],   x' = x + r a(norm(x)) + r m(norm(x + r a)),   logits = U norm(x_L) / s

Scores of the attention are multiplied by a factor of the config in the place of 1/√K: as both
queries and keys are rotated, its root goes into the cosines and sines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor
from transformers import PreTrainedModel

from spectro.models.architecture import Weights
from spectro.models.config import Precision
from spectro.models.families.llama import Llama
from spectro.models.families.rotary import Rotary, RotaryOf
from spectro.models.size import ModelSize

OwnT = TypeVar("OwnT", bound="Granite")


@dataclass(frozen=True)
class Factors:
    """Of a config; 1 where shapes alone matter."""

    embedding: float = 1.0
    """e."""
    residual: float = 1.0
    """r."""
    logits: float = 1.0
    """s."""


class Granite(Llama):
    """A Granite model."""

    factors = Factors()

    @classmethod
    def of_parts(
        cls: type[OwnT],
        shape: ModelSize,
        params: Mapping[str, Tensor],
        unembed_name: str,
        precision: Precision,
        hf: PreTrainedModel | None = None,
    ) -> OwnT:
        """As `Transformer.of_parts`, with the factors of the model's config."""
        found = super().of_parts(shape, params, unembed_name, precision, hf)
        if hf is not None:
            found.factors = Factors(
                float(hf.config.embedding_multiplier),
                float(hf.config.residual_multiplier),
                float(hf.config.logits_scaling),
            )
        return found

    @classmethod
    def rotary_of(cls, shape: ModelSize, hf: PreTrainedModel | None) -> RotaryOf:
        """Rotary positions times the root of what the attention's scores are scaled by, over
        1/√K."""
        plain = super().rotary_of(shape, hf)
        if hf is None:
            return plain
        factor = (float(hf.config.attention_multiplier) * shape.head_size**0.5) ** 0.5

        def scaled(num_pos: int) -> Rotary:
            cos, sin = plain(num_pos)
            return factor * cos, factor * sin

        return scaled

    def embed(self, ids_BT: Tensor) -> Tensor:
        """Scaled residual stream entering layer 0, [B, T, D]."""
        return self.factors.embedding * super().embed(ids_BT)

    def attention(self, normed_BTD: Tensor, layer: int) -> Tensor:
        """All heads of a layer, scaled, [B, T, D]."""
        return self.factors.residual * super().attention(normed_BTD, layer)

    def head_terms(
        self, normed_GBTD: Tensor, heads: Mapping[int, Weights], layer: int
    ) -> list[Tensor]:
        """Scaled terms of heads' variants."""
        terms = super().head_terms(normed_GBTD, heads, layer)
        return [self.factors.residual * term for term in terms]

    def mlp(self, normed: Tensor, layer: int) -> Tensor:
        """The scaled MLP of a layer, [..., D]."""
        return self.factors.residual * super().mlp(normed, layer)

    def mlp_term(self, normed_GBTD: Tensor, weights: Weights, layer: int) -> Tensor:
        """Scaled term of an MLP's variants."""
        return self.factors.residual * super().mlp_term(normed_GBTD, weights, layer)

    def final_norm(self, resid: Tensor) -> Tensor:
        """The final norm of a stream, over the scale of the logits, [..., D]."""
        return super().final_norm(resid) / self.factors.logits
