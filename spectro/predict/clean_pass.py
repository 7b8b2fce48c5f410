"""One forward pass at w*, with the gradient of what a position computes in its own stream.

Keys and values of other positions are constants of the gradient: ∂ℓ_i/∂x_i is what the stream of
token i itself does to its loss, exactly and for all tokens by one backward pass, and none of it
is the loss of a later token that attends to it.

Shapes: B sequences, T positions, D hidden size, H heads, K head size, F intermediate size,
V vocabulary, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spectro.models.transformer import Transformer


@dataclass(frozen=True, kw_only=True)
class MlpPass:
    """What the MLP of one layer computes."""

    in_BTD: Tensor
    """Normed stream that it reads."""
    maps: tuple[Tensor, ...]
    """What its inner maps give, [B, T, F] each: what the activation function is applied to, and in
    gated MLPs the factor of the result."""
    bias: int
    """What the biases of the inner maps multiply: 1, or 0 where there are none."""
    down_DF: Tensor
    """Output matrix."""


@dataclass(frozen=True, kw_only=True)
class LayerPass:
    """What one layer computes."""

    attention_in_BTD: Tensor
    """Normed stream that heads read."""
    query_BHTK: Tensor
    key_BHTK: Tensor
    """Queries and keys, rotated."""
    value_BHTK: Tensor
    pattern_BHTT: Tensor
    """Attention probabilities, zero above the diagonal."""
    mixed_BHTK: Tensor
    """Σ_j a_ij v_j of every head, before the output matrix."""
    output_HKD: Tensor
    """Output matrix of every head: its term is mixed · output."""
    attention_bias: int
    """What the biases of queries, keys and values multiply: 1, or 0 where there are none."""
    mixed_in_BHT: Tensor
    """Squared norm of Σ_j a_ij x_j, what the value weights of a head multiply, and of its bias."""
    joined_BTD: Tensor
    """Stream that the heads' terms enter by addition alone: where the MLP reads them, before it."""
    mlp: MlpPass | None
    """Its MLP, where it has one."""


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """Of one scalar per position, with respect to what that position computes."""

    streams: tuple[Tensor, ...]
    """Stream entering each layer and the last one, L + 1 of [B, T, D]."""
    joined: tuple[Tensor, ...]
    """Stream with the heads' terms of each layer, L of [B, T, D]."""
    mixed: tuple[Tensor, ...]
    """Mixed values of every head, L of [B, H, T, K]."""
    maps: tuple[tuple[Tensor, ...], ...]
    """What the inner maps of every MLP give, L times [B, T, F] each; none without MLPs."""


class CleanPass:
    """A batch of sequences at w*; every tensor is detached."""

    def __init__(self, model: Transformer, ids_BT1: Tensor) -> None:
        """Run ids [B, T+1] through the model, on its device."""
        self.model = model
        self.ids_BT1 = ids_BT1.to(model.device)
        with torch.enable_grad():
            stream = model.embed(self.ids_BT1[:, :-1]).detach().requires_grad_()
            self._streams, graph = [stream], []
            for layer in range(model.shape.num_layers):
                found, stream = _layer_pass(model, stream, layer)
                self._streams.append(stream)
                graph.append(found)
            self._hidden_BTD = model.suffix(stream, model.shape.num_layers)
        self._mixed = [layer.mixed_BHTK for layer in graph]
        self._joined = [layer.joined_BTD for layer in graph]
        self._maps = [() if layer.mlp is None else layer.mlp.maps for layer in graph]
        self.layers = [_detached(layer) for layer in graph]
        self.streams = [stream.detach() for stream in self._streams]
        self.hidden_BTD = self._hidden_BTD.detach()
        self.unembed_VD = model.params[model.unembed_name]
        self.log_p_BTV = functional.linear(self.hidden_BTD, self.unembed_VD).log_softmax(-1)
        self.mean_row_BTD = self.log_p_BTV.exp() @ self.unembed_VD
        """Σ_v p_v u_v: the gradient of the logsumexp."""

    @property
    def targets_BT(self) -> Tensor:
        """y."""
        return self.ids_BT1[:, 1:]

    @property
    def losses_BT(self) -> Tensor:
        """ℓ at w*, nats."""
        return -self.log_p_BTV.gather(-1, self.targets_BT[..., None])[..., 0]

    @property
    def loss_gradient_BTD(self) -> Tensor:
        """∂ℓ / ∂ final-normed stream."""
        return self.mean_row_BTD - self.unembed_VD[self.targets_BT]

    def pull_back(self, cotangent_BTD: Tensor) -> Gradients:
        """Gradients of cotangent · final-normed stream of every position; once per pass."""
        groups = [self._streams, self._joined, self._mixed, *self._maps]
        wanted = [tensor for group in groups for tensor in group]
        found = iter(torch.autograd.grad(self._hidden_BTD, wanted, cotangent_BTD))
        streams, joined, mixed, *maps = (tuple(islice(found, len(group))) for group in groups)
        return Gradients(streams=streams, joined=joined, mixed=mixed, maps=tuple(maps))


def _detached(layer: LayerPass) -> LayerPass:
    def of(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(of(one) for one in value)
        if isinstance(value, MlpPass):
            return MlpPass(**{name: of(own) for name, own in vars(value).items()})
        return value.detach() if isinstance(value, Tensor) else value

    return LayerPass(**{name: of(value) for name, value in vars(layer).items()})


def _layer_pass(model: Transformer, stream_BTD: Tensor, layer: int) -> tuple[LayerPass, Tensor]:
    shape = model.shape
    attention_in = model.attention_in(stream_BTD, layer)
    query, key, value = model.attention_states(attention_in, layer)
    pattern = _own_pattern(query, key, shape.window(layer))
    own = pattern.diagonal(dim1=-2, dim2=-1)[..., None]
    mixed = pattern @ value.detach() + own * (value - value.detach())
    attention = model.linear(mixed.transpose(1, 2).flatten(2), layer, model.output_map)
    joined, mlp = stream_BTD + attention, None
    leaving = joined
    if shape.has_mlp:
        mlp, term = _mlp_pass(model, stream_BTD if shape.parallel_residual else joined, layer)
        leaving = joined + term
    bias = _has_bias(model, layer, model.query_map)
    found = LayerPass(
        attention_in_BTD=attention_in,
        query_BHTK=query,
        key_BHTK=key,
        value_BHTK=value,
        pattern_BHTT=pattern,
        mixed_BHTK=mixed,
        output_HKD=model.layer_map(layer, model.output_map).T.reshape(*mixed.shape[1::2], -1),
        attention_bias=bias,
        mixed_in_BHT=(pattern.detach() @ attention_in.detach()[:, None]).square().sum(-1) + bias,
        joined_BTD=leaving if shape.parallel_residual else joined,
        mlp=mlp,
    )
    return found, leaving


def _mlp_pass(model: Transformer, stream_BTD: Tensor, layer: int) -> tuple[MlpPass, Tensor]:
    """What an MLP computes, and its term of the stream."""
    normed = model.mlp_in(stream_BTD, layer)
    maps = model.mlp_maps(normed, layer)
    found = MlpPass(
        in_BTD=normed,
        maps=tuple(maps),
        bias=_has_bias(model, layer, model.inner_maps[0]),
        down_DF=model.layer_map(layer, model.down_map),
    )
    return found, model.linear(model.mlp_inner(maps), layer, model.down_map)


def _has_bias(model: Transformer, layer: int, name: str) -> int:
    return int(model.layer_bias(layer, f"{name}.bias") is not None)


def _own_pattern(query_BHTK: Tensor, key_BHTK: Tensor, window: int) -> Tensor:
    """Attention probabilities; keys of other positions are constants of the gradient."""
    num_pos, size = query_BHTK.shape[-2:]
    place = torch.arange(num_pos, device=query_BHTK.device)
    back_TT = place[:, None] - place
    scores = query_BHTK @ key_BHTK.detach().transpose(-1, -2)
    own = (query_BHTK * key_BHTK).sum(-1, keepdim=True)
    scores = torch.where(back_TT == 0, own, scores) / size**0.5
    unseen_TT = (back_TT < 0) | (back_TT >= (window or num_pos))
    pattern: Tensor = scores.masked_fill(unseen_TT, -torch.inf).softmax(-1)
    return pattern
