"""The description of a model: its dimensions and the settings of its arithmetic.

Read from a checkpoint's config.json, from a loaded model, or from a table of published models: a
plan needs no weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spectro.models.components import (
    FULL,
    Component,
    ComponentKind,
    Group,
    all_components,
    group_components,
    select_components,
)
from spectro.models.granularities import FINAL_NORM, other_granularities

_CONFIG_FIELDS = {
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "vocab_size": "vocab_size",
}
_OTHER_NAMES = {
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "hidden_size": "n_embd",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
    "hidden_act": "activation_function",
    "layer_norm_eps": "layer_norm_epsilon",
}
"""Names of the same fields in GPT-2's config."""
_LAYER_NORM = ("gpt_neox", "gpt2", "attention_only")
"""Families with layer norms and MLPs without gate; all others have RMS norms and gates."""
_ACTIVATION = {"gpt_neox": "gelu", "gpt2": "gelu_new", "gemma": "gelu_pytorch_tanh"}
_TIED_BY_DEFAULT = ("gpt2", "gemma")
"""Families whose config.json leaves out `tie_word_embeddings` where it is true."""


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """Dimensions and arithmetic of a model."""

    family: str = "gpt_neox"
    """`model_type` of its config."""

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
    num_kv_heads: int = 0
    """Sets of keys and values per layer; 0 becomes H: every head has its own."""
    head_size: int = 0
    """K, dimensions of one head; 0 becomes D/H."""
    is_tied: bool = False
    """Whether the unembedding is the embedding."""
    has_mlp: bool = True
    """Whether layers have an MLP."""
    has_gate: bool = False
    """Whether the MLP's inner activation is multiplied by a second map of its input."""
    has_qk_norm: bool = False
    """Whether queries and keys are normed before the attention."""
    sliding_window: int = 0
    """Positions that a sliding-window layer sees, W; 0: no layer has a window."""
    window_layers: tuple[int, ...] = ()
    """Layers with a sliding window."""
    universal_config: str = ""
    """The whole config of a model that the universal engine computes, as JSON; empty of others."""
    weights_by_kind: tuple[tuple[str, int], ...] = ()
    """Weights of one component by `shape_key`, where they are counted (size_of_config.py) because
    the family's parameters are not known here."""

    def __post_init__(self) -> None:
        if self.intermediate_size == 0:
            object.__setattr__(self, "intermediate_size", 4 * self.hidden_size)
        if self.num_kv_heads == 0:
            object.__setattr__(self, "num_kv_heads", self.num_heads)
        object.__setattr__(self, "window_layers", tuple(self.window_layers))
        for name in _CONFIG_FIELDS:
            if getattr(self, name) < 1:
                raise ValueError(f"model size: {name} must be ≥ 1, found {getattr(self, name)}")
        if self.head_size == 0:
            if self.hidden_size % self.num_heads:
                raise ValueError(
                    f"model size: hidden_size {self.hidden_size} is no multiple of num_heads "
                    f"{self.num_heads}"
                )
            object.__setattr__(self, "head_size", self.hidden_size // self.num_heads)
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"model size: {self.num_heads} heads cannot share {self.num_kv_heads} sets of keys "
                "and values equally"
            )

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> ModelSize:
        """From the fields of a checkpoint's config.json.

        Raises ValueError, in one line, if one is missing.
        """
        config = dict(config)
        for name, other in _OTHER_NAMES.items():
            if name not in config and config.get(other) is not None:
                config[name] = config[other]
        family = str(config.get("model_type", "gpt_neox"))
        if family in ("gpt2", "attention_only"):
            config.setdefault("intermediate_size", 4 * int(config.get("hidden_size", 0)))
        missing = [field for field in _CONFIG_FIELDS.values() if config.get(field) is None]
        if missing:
            raise ValueError(
                f"the model's config.json lacks {', '.join(missing)}: is it a language model?"
            )
        windows = _window_layers(config)
        return cls(
            num_layers=int(config["num_hidden_layers"]),
            num_heads=int(config["num_attention_heads"]),
            hidden_size=int(config["hidden_size"]),
            intermediate_size=int(config["intermediate_size"]),
            vocab_size=int(config["vocab_size"]),
            family=family,
            max_context=int(config.get("max_position_embeddings", 2048)),
            parallel_residual=bool(config.get("use_parallel_residual", family == "gpt_neox")),
            attention_bias=bool(
                config.get("attention_bias", family in ("gpt_neox", "gpt2", "qwen2"))
            ),
            activation=str(config.get("hidden_act", _ACTIVATION.get(family, "silu"))),
            layer_norm_eps=float(config.get("layer_norm_eps", config.get("rms_norm_eps", 1e-5))),
            num_kv_heads=int(config.get("num_key_value_heads") or 0),
            head_size=int(config.get("head_dim") or 0),
            is_tied=bool(config.get("tie_word_embeddings", family in _TIED_BY_DEFAULT)),
            has_mlp=family != "attention_only",
            has_gate=family not in _LAYER_NORM,
            has_qk_norm=family == "qwen3",
            window_layers=windows,
            sliding_window=int(config.get("sliding_window") or 0) if windows else 0,
        )

    @property
    def is_universal(self) -> bool:
        """Whether the universal engine computes it."""
        return bool(self.universal_config)

    @property
    def components(self) -> tuple[Component, ...]:
        """The standard components (see `all_components`)."""
        shared = self.num_kv_heads if self.num_kv_heads < self.num_heads else 0
        return all_components(
            self.num_layers,
            self.num_heads,
            num_shared_kv=shared,
            has_mlp=self.has_mlp,
            is_tied=self.is_tied,
        )

    @property
    def granularities(self) -> tuple[tuple[Component, ...], ...]:
        """Components beside the standard ones (see granularities.py)."""
        norms = ("norm1", "norm2") if self.has_mlp else ("norm1",)
        return other_granularities(
            self.components,
            self.num_layers,
            shares_kv=self.num_kv_heads < self.num_heads,
            mlp_parts=self._mlp_maps,
            norms=(*norms, "q_norm", "k_norm") if self.has_qk_norm else norms,
        )

    def select(self, patterns: Sequence[str]) -> tuple[Component, ...]:
        """The selected components, in the patterns' order (see `select_components`)."""
        return select_components(patterns, self.components, self.granularities)

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
        if self.weights_by_kind:
            return dict(self.weights_by_kind)[FULL.shape_key]
        width, tables = self.hidden_size, 1 if self.is_tied else 2
        norms = self._num_norms * self._norm_weights
        layer = self._attention_weights + norms + self._mlp_weights
        positions = self.max_context * width if self.family == "gpt2" else 0
        edges = self._norm_weights + tables * self.vocab_size * width + positions
        return self.num_layers * layer + edges

    def weights_of(self, component: Component) -> int:
        """Weights that a component displaces, as `GroupModel.weights` gives them."""
        if counted := dict(self.weights_by_kind).get(component.shape_key):
            return counted
        kind, layer = component.kind, self._attention_weights + self._mlp_weights
        counts = {
            ComponentKind.HEAD: self._head_weights,
            ComponentKind.KV: 2 * self._map_weights("k"),
            ComponentKind.MLP: self._mlp_weights,
            ComponentKind.ATTENTION: self._attention_weights,
            ComponentKind.LAYER: layer + self._num_norms * self._norm_weights,
            ComponentKind.EMBED: self.vocab_size * self.hidden_size,
            ComponentKind.UNEMBED: self.vocab_size * self.hidden_size,
        }
        if kind is ComponentKind.NORM:
            of_heads = component.part in ("q_norm", "k_norm")
            return self.head_size if of_heads else self._norm_weights
        if component.part:
            return self._map_weights(component.part)
        return counts.get(kind, self.num_weights)  # of what a user defines at most

    def window(self, layer: int) -> int:
        """Positions that a layer sees; 0: all."""
        return self.sliding_window if layer in self.window_layers else 0

    def layers_above(self, component: Component) -> int:
        """Layers above a component: its displaced stream passes them with weights at w*."""
        if component.kind is ComponentKind.UNEMBED or component == FINAL_NORM:
            return 0
        return self.num_layers if component.layer is None else self.num_layers - component.layer - 1

    @property
    def _num_norms(self) -> int:
        return 2 if self.has_mlp else 1

    @property
    def _head_weights(self) -> int:
        maps = "qo" if self.num_kv_heads < self.num_heads else "qkvo"
        return sum(map(self._map_weights, maps))

    def _map_weights(self, part: str) -> int:
        """Weights and biases of one map of a head or of an MLP."""
        width, has_biases = self.hidden_size, self._has_layer_norm
        if part in "qkvo":
            return self.head_size * (width + (self.attention_bias and part != "o"))
        bias = width if part == "down" else self.intermediate_size
        return width * self.intermediate_size + bias * has_biases

    @property
    def _attention_weights(self) -> int:
        queries, kv = self.num_heads * self.head_size, self.num_kv_heads * self.head_size
        bias = queries + 2 * kv if self.attention_bias else 0
        out_bias = self.hidden_size if self.attention_bias and self._has_layer_norm else 0
        norms = 2 * self.head_size if self.has_qk_norm else 0
        return 2 * self.hidden_size * (queries + kv) + bias + out_bias + norms

    @property
    def _has_layer_norm(self) -> bool:
        return self.family in _LAYER_NORM

    @property
    def _norm_weights(self) -> int:
        return (2 if self._has_layer_norm else 1) * self.hidden_size

    @property
    def _mlp_weights(self) -> int:
        return sum(map(self._map_weights, self._mlp_maps))

    @property
    def _mlp_maps(self) -> tuple[str, ...]:
        maps = ("gate", "up", "down") if self.has_gate else ("up", "down")
        return maps if self.has_mlp else ()


def _window_layers(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Layers with a sliding window: all, or those that `layer_types` names."""
    if not config.get("sliding_window") or config.get("use_sliding_window") is False:
        return ()
    kinds = config.get("layer_types") or []
    layers = range(int(config["num_hidden_layers"]))
    return tuple(n for n in layers if not kinds or kinds[n] == "sliding_attention")
