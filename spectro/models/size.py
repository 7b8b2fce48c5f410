"""The description of a GPT-NeoX model: its dimensions and the settings of its arithmetic.

Read from a checkpoint's config.json, from a loaded model, or from a table of published models: a
plan needs no weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spectro.models.components import (
    Component,
    ComponentKind,
    Group,
    group_components,
    select_components,
)

_CONFIG_FIELDS = {
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "vocab_size": "vocab_size",
}


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """Dimensions and arithmetic of a GPT-NeoX model."""

    num_layers: int
    """L."""
    num_heads: int
    """H, heads per layer."""
    hidden_size: int
    """D, width of the residual stream."""
    intermediate_size: int = 0
    """F, inner width of an MLP; 0 becomes 4D, as in all Pythia models."""
    vocab_size: int
    """V, rows of the embedding, padding included."""
    max_context: int = 2048
    """Longest context that the model was built for."""
    parallel_residual: bool = True
    """Whether heads and MLP of a layer read the same residual stream."""
    attention_bias: bool = True
    """Whether the attention's products have biases."""
    activation: str = "gelu"
    """Activation function of the MLPs, by its name in transformers."""
    layer_norm_eps: float = 1e-5
    """Added to the variance by layer norms."""

    def __post_init__(self) -> None:
        if self.intermediate_size == 0:
            object.__setattr__(self, "intermediate_size", 4 * self.hidden_size)
        for name in _CONFIG_FIELDS:
            if getattr(self, name) < 1:
                raise ValueError(f"model size: {name} must be ≥ 1, found {getattr(self, name)}")
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"model size: hidden_size {self.hidden_size} is no multiple of num_heads "
                f"{self.num_heads}"
            )

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> ModelSize:
        """From the fields of a checkpoint's config.json.

        Raises ValueError, in one line, if one is missing.
        """
        missing = [field for field in _CONFIG_FIELDS.values() if field not in config]
        if missing:
            raise ValueError(f"the model's config.json lacks {', '.join(missing)}: is it GPT-NeoX?")
        return cls(
            **{name: int(config[field]) for name, field in _CONFIG_FIELDS.items()},
            max_context=int(config.get("max_position_embeddings", 2048)),
            parallel_residual=bool(config.get("use_parallel_residual", True)),
            attention_bias=bool(config.get("attention_bias", True)),
            activation=str(config.get("hidden_act", "gelu")),
            layer_norm_eps=float(config.get("layer_norm_eps", 1e-5)),
        )

    @property
    def head_size(self) -> int:
        """K, dimensions of one head."""
        return self.hidden_size // self.num_heads

    def select(self, patterns: Sequence[str]) -> tuple[Component, ...]:
        """The selected components, in the patterns' order (see `select_components`)."""
        return select_components(patterns, self.num_layers, self.num_heads)

    def groups(self, patterns: Sequence[str], *, with_full: bool) -> tuple[Group, ...]:
        """Groups of the selected components, and last `full` where the estimator needs it.

        Raises ValueError if a pattern selects nothing (see `select_components`).
        """
        return group_components(self.select(patterns), with_full=with_full)

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
        width = self.hidden_size
        attention = 4 * width**2 + (4 * width if self.attention_bias else 0)
        layer = attention + 4 * width + self._mlp_weights
        return self.num_layers * layer + 2 * width + 2 * self.vocab_size * width

    def weights_of(self, component: Component) -> int:
        """Weights that a component displaces, as `GroupModel.weights` gives them."""
        if component.kind is ComponentKind.HEAD:
            size = self.head_size
            return 4 * size * self.hidden_size + (3 * size if self.attention_bias else 0)
        if component.kind is ComponentKind.MLP:
            return self._mlp_weights
        if component.kind is ComponentKind.FULL:
            return self.num_weights
        return self.vocab_size * self.hidden_size

    def layers_above(self, component: Component) -> int:
        """Layers above a component: its displaced stream passes them with weights at w*."""
        if component.kind is ComponentKind.UNEMBED:
            return 0
        return self.num_layers if component.layer is None else self.num_layers - component.layer - 1

    @property
    def _mlp_weights(self) -> int:
        width, inner = self.hidden_size, self.intermediate_size
        return 2 * width * inner + inner + width
