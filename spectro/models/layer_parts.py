"""Parts of a layer: norms, attention and MLP, by the names that a family gives its parameters.

Shapes as in transformer.py.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional
from transformers.activations import ACT2FN

from spectro.models.architecture import BlockTable, Weights, displaced_params
from spectro.models.config import Precision, check_precision
from spectro.models.families.rotary import Rotary, RotaryOf
from spectro.models.precision import causal_attention, linear, operand
from spectro.models.sampled_softmax import SampledSoftmax
from spectro.models.size import ModelSize
from spectro.models.variant_products import mlp_of_variants

OwnT = TypeVar("OwnT", bound="LayerParts")


class LayerParts(ABC):
    """Parameters of a model, and what its layers compute with them.

    Args:
        shape: dimensions and arithmetic.
        params: parameters by the checkpoint's names.
        unembed_name: which of them is the output matrix [V, D]; the embedding's where tied.
        precision: what operands of matrix products are rounded to.
        rotary: rotary positions, where the family has them.
    """

    embed_names: tuple[str, ...]
    """Parameters of the embedding: the token table first."""
    layers_name: str
    """Prefix of the layers' parameters, before the number."""
    attention_norm, mlp_norm = "input_layernorm", "post_attention_layernorm"
    """Norms of a layer: of what the heads read, and of what the MLP reads."""
    final_norm_name: str
    """The norm above all layers."""
    query_map: str
    """Map of a layer that gives queries; of fused maps also keys and values."""
    output_map: str
    """Map from the heads' mixed values to the stream."""
    inner_maps: tuple[str, ...]
    """Inner maps of an MLP: the activation's, and the one that multiplies it where there is one."""
    down_map: str
    """Map from the inner units to the stream."""
    has_layer_norm = True
    """Whether norms take the mean out and have biases; otherwise they are RMS norms."""

    def __init__(
        self,
        shape: ModelSize,
        params: Mapping[str, Tensor],
        unembed_name: str,
        precision: Precision = Precision.FLOAT32,
        rotary: RotaryOf | None = None,
    ) -> None:
        check_precision(precision, str(params[unembed_name].dtype).removeprefix("torch."))
        self.shape = shape
        self.params = params
        self.unembed_name = unembed_name
        self.precision = precision
        self.activation: Callable[[Tensor], Tensor] = ACT2FN[shape.activation].forward
        self._rotary = rotary
        self._operands: dict[str, Tensor] = {}
        self._sampled: dict[int, SampledSoftmax] = {}

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.params[self.unembed_name].device

    def rotary(self, num_pos: int) -> Rotary:
        """Cosines and sines of T positions, [T, rotary dimensions] each."""
        assert self._rotary is not None
        return self._rotary(num_pos)

    def displaced(self: OwnT, table: BlockTable, weights: Weights) -> OwnT:
        """The same model with one component's blocks in their places."""
        return self.with_params(displaced_params(self.params, table, weights))

    def with_params(self: OwnT, params: Mapping[str, Tensor]) -> OwnT:
        """The same model with other parameters under the same names."""
        found = copy.copy(self)
        found.params = params
        found._operands = {
            name: made for name, made in self._operands.items() if params[name] is self.params[name]
        }
        found._sampled = {}
        return found

    def layer_map(self, layer: int, name: str) -> Tensor:
        """The weight of a layer's linear map `name`, [output, input]."""
        return self.as_map(self.params[f"{self.layers_name}{layer}.{name}.weight"])

    def layer_bias(self, layer: int, name: str) -> Tensor | None:
        """Bias `name` of a layer, or None where the checkpoint has none."""
        return self.params.get(f"{self.layers_name}{layer}.{name}")

    def operand(self, name: str) -> Tensor:
        """A parameter as products take it: a resident weight is rounded once, at its first use.

        A weight that is differentiated is returned as it is and rounded within the product, so
        that its gradient comes back in float32.
        """
        if self.precision is not Precision.BFLOAT16 or self.params[name].requires_grad:
            return self.params[name]
        if name not in self._operands:
            self._operands[name] = operand(self.params[name], self.precision)
        return self._operands[name]

    def linear(self, states: Tensor, layer: int, name: str) -> Tensor:
        """A layer's linear map `name` of states [..., D], with its bias where it has one."""
        weight_FD = self.as_map(self.operand(f"{self.layers_name}{layer}.{name}.weight"))
        return linear(states, weight_FD, self.layer_bias(layer, f"{name}.bias"), self.precision)

    def as_map(self, weight: Tensor) -> Tensor:
        """The weight of a layer's linear map as [output, input]."""
        return weight

    def norm(self, states: Tensor, name: str) -> Tensor:
        """Layer norm or RMS norm over the last dimension."""
        gain, eps = self.norm_gain(name), self.shape.layer_norm_eps
        if self.has_layer_norm:
            return functional.layer_norm(states, gain.shape, gain, self.params[f"{name}.bias"], eps)
        return functional.rms_norm(states, gain.shape, gain, eps)

    def norm_gain(self, name: str) -> Tensor:
        """What a norm multiplies by, [D]."""
        return self.params[f"{name}.weight"]

    def attention_in(self, resid: Tensor, layer: int) -> Tensor:
        """What the heads of a layer read: the stream's norm, [..., D]."""
        return self.norm(resid, f"{self.layers_name}{layer}.{self.attention_norm}")

    def mlp_in(self, resid: Tensor, layer: int) -> Tensor:
        """What the MLP of a layer reads: a norm of the stream, [..., D]."""
        return self.norm(resid, f"{self.layers_name}{layer}.{self.mlp_norm}")

    def final_norm(self, resid: Tensor) -> Tensor:
        """The final norm of a stream [..., D]."""
        return self.norm(resid, self.final_norm_name)

    @abstractmethod
    def attention_states(self, normed_BTD: Tensor, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of all heads as the attention takes them, [B, H, T, K] each."""

    @abstractmethod
    def head_terms(
        self, normed_GBTD: Tensor, heads: Mapping[int, Weights], layer: int
    ) -> list[Tensor]:
        """Term of every head's variants, [R, B/G, T, D] each, without the output bias.

        Variants that see the same sequences, n of them, take the place of heads in the attention.

        Args:
            normed_GBTD: what the heads read, by owner [G, B/G, T, D].
            heads: head → its displaced blocks, [R, *block shape] (block_names.py).
            layer: theirs.
        """

    def attention(self, normed_BTD: Tensor, layer: int) -> Tensor:
        """All heads of a layer, and the output bias where there is one, [B, T, D]."""
        query, key, value = self.attention_states(normed_BTD, layer)
        window = self.shape.window(layer)
        mixed_BHTK = causal_attention(query, key, value, self.precision, window=window)
        return self.linear(mixed_BHTK.transpose(1, 2).flatten(2), layer, self.output_map)

    def mlp(self, normed: Tensor, layer: int) -> Tensor:
        """The MLP of a layer, [..., D]."""
        return self.linear(self.mlp_inner(self.mlp_maps(normed, layer)), layer, self.down_map)

    def mlp_maps(self, normed: Tensor, layer: int) -> list[Tensor]:
        """What the inner maps of an MLP give, [..., F] each."""
        return [self.linear(normed, layer, name) for name in self.inner_maps]

    def mlp_inner(self, maps: Sequence[Tensor]) -> Tensor:
        """Inner units of an MLP: the activation of the first map, times the second, [..., F]."""
        inner = self.activation(maps[0])
        return inner if len(maps) == 1 else inner * maps[1]

    def mlp_term(self, normed_GBTD: Tensor, weights: Weights, layer: int) -> Tensor:
        """Term of an MLP's variants, [R, B/G, T, D], from what it reads by owner.

        Variants that see the same sequences share the input of the first product.
        """
        blocks = ("gate", "up")[-len(self.inner_maps) :]
        return mlp_of_variants(
            normed_GBTD,
            [(self.as_map(weights[f"{b}_weight"]), weights.get(f"{b}_bias")) for b in blocks],
            self.mlp_inner,
            self.as_map(weights["down_weight"]),
            weights.get("down_bias"),
            self.precision,
        )

    def layer(self, resid_BTD: Tensor, layer: int) -> Tensor:
        """One layer with its own weights, [B, T, D] → [B, T, D]."""
        attention = self.attention(self.attention_in(resid_BTD, layer), layer)
        if not self.shape.has_mlp:
            return resid_BTD + attention
        middle = resid_BTD if self.shape.parallel_residual else resid_BTD + attention
        mlp = self.mlp(self.mlp_in(middle, layer), layer)
        return resid_BTD + attention + mlp
