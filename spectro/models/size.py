"""The numbers of a GPT-NeoX model that decide what it costs; no tensors.

From a model at hand, from a checkpoint's config.json, or from a table of published shapes:
a plan needs no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spectro.models.components import Component, ComponentKind
from spectro.models.gpt_neox import GPTNeoX


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """Shape of a GPT-NeoX model."""

    num_layers: int
    """L."""
    num_heads: int
    """H, heads per layer."""
    hidden_size: int
    """D, width of the residual stream."""
    intermediate_size: int
    """F, inner width of an MLP; 4D in Pythia."""
    vocab_size: int
    """V, rows of the embedding, padding included."""
    parallel_residual: bool = True
    """Whether heads and MLP of a layer read the same stream."""
    attention_bias: bool = True
    """Whether the attention's products have biases."""
    max_context: int = 2048
    """Longest context that the model was built for."""

    def __post_init__(self) -> None:
        for name in ("num_layers", "num_heads", "hidden_size", "intermediate_size", "vocab_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"model size: {name} must be ≥ 1, found {getattr(self, name)}")
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"model size: hidden_size {self.hidden_size} is no multiple of num_heads "
                f"{self.num_heads}"
            )

    @property
    def head_size(self) -> int:
        """K, dimensions of one head."""
        return self.hidden_size // self.num_heads

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> ModelSize:
        """Size by the fields of a checkpoint's config.json.

        Raises ValueError, in one line, if one is missing.
        """
        names = {
            "num_layers": "num_hidden_layers",
            "num_heads": "num_attention_heads",
            "hidden_size": "hidden_size",
            "intermediate_size": "intermediate_size",
            "vocab_size": "vocab_size",
        }
        missing = [field for field in names.values() if field not in config]
        if missing:
            raise ValueError(f"the model's config.json lacks {', '.join(missing)}: is it GPT-NeoX?")
        return cls(
            **{name: int(config[field]) for name, field in names.items()},
            parallel_residual=bool(config.get("use_parallel_residual", True)),
            attention_bias=bool(config.get("attention_bias", True)),
            max_context=int(config.get("max_position_embeddings", 2048)),
        )

    @classmethod
    def of_model(cls, model: GPTNeoX) -> ModelSize:
        """Size of a model at hand."""
        shape = model.shape
        return cls(
            num_layers=shape.num_layers,
            num_heads=shape.num_heads,
            hidden_size=shape.hidden_size,
            intermediate_size=len(model.layer_param(0, "mlp.dense_h_to_4h.weight")),
            vocab_size=shape.vocab_size,
            parallel_residual=shape.parallel_residual,
            attention_bias=model.layer_bias(0, "attention.query_key_value.bias") is not None,
            max_context=shape.max_context,
        )

    def require_context(self, context: int) -> None:
        """Raise ValueError, in one line, if the model was built for shorter contexts."""
        if context > self.max_context:
            raise ValueError(
                f"tokens.context is {context}, but the model was built for contexts of at most "
                f"{self.max_context}"
            )

    @property
    def num_weights(self) -> int:
        """All parameters."""
        width, inner = self.hidden_size, self.intermediate_size
        attention = 4 * width**2 + (4 * width if self.attention_bias else 0)
        norms = 4 * width
        layer = attention + norms + self._mlp_weights(width, inner)
        return self.num_layers * layer + 2 * width + 2 * self.vocab_size * width

    def weights_of(self, component: Component) -> int:
        """Weights that move when a component does, as `GroupModel.weights` gives them."""
        if component.kind is ComponentKind.HEAD:
            size = self.head_size
            return 4 * size * self.hidden_size + (3 * size if self.attention_bias else 0)
        if component.kind is ComponentKind.MLP:
            return self._mlp_weights(self.hidden_size, self.intermediate_size)
        if component.kind is ComponentKind.FULL:
            return self.num_weights
        return self.vocab_size * self.hidden_size

    def layers_above(self, component: Component) -> int:
        """Layers that a displaced component's stream passes with weights at w*."""
        if component.kind is ComponentKind.UNEMBED:
            return 0
        return self.num_layers if component.layer is None else self.num_layers - component.layer - 1

    @staticmethod
    def _mlp_weights(width: int, inner: int) -> int:
        return 2 * width * inner + inner + width
