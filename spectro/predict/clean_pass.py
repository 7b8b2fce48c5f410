"""One forward pass at w*, with the gradient of what a position computes in its own stream.

Keys and values of other positions are constants of the gradient: ∂ℓ_i/∂x_i is what the stream of
token i itself does to its loss, exactly and for all tokens by one backward pass, and none of it
is the loss of a later token that attends to it.

Shapes: B sequences, T positions, D hidden size, H heads, K head size, F intermediate size,
V vocabulary, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.families.rotary import rotate


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
    mixed_in_BHT: Tensor
    """Squared norm of Σ_j a_ij x_j, what the value weights of a head multiply, and of its bias."""
    mlp_in_BTD: Tensor
    """Normed stream that the MLP reads."""
    up_BTF: Tensor
    """What the MLP's activation function is applied to."""
    down_DF: Tensor
    """Output matrix of the MLP."""


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """Of one scalar per position, with respect to what that position computes."""

    streams: tuple[Tensor, ...]
    """Stream entering each layer and the last one, L + 1 of [B, T, D]."""
    mixed: tuple[Tensor, ...]
    """Mixed values of every head, L of [B, H, T, K]."""
    up: tuple[Tensor, ...]
    """Inputs of the MLP's activation function, L of [B, T, F]."""


class CleanPass:
    """A batch of sequences at w*; every tensor is detached."""

    def __init__(self, model: GPTNeoX, ids_BT1: Tensor) -> None:
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
        self._up = [layer.up_BTF for layer in graph]
        self.layers = [
            LayerPass(**{name: tensor.detach() for name, tensor in vars(layer).items()})
            for layer in graph
        ]
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
        wanted = [*self._streams, *self._mixed, *self._up]
        found = torch.autograd.grad(self._hidden_BTD, wanted, cotangent_BTD)
        num_layers = len(self._mixed)
        cuts = (num_layers + 1, 2 * num_layers + 1)
        return Gradients(
            streams=found[: cuts[0]], mixed=found[cuts[0] : cuts[1]], up=found[cuts[1] :]
        )


def _layer_pass(model: GPTNeoX, stream_BTD: Tensor, layer: int) -> tuple[LayerPass, Tensor]:
    shape = model.shape
    num_seq, num_pos, hidden = stream_BTD.shape
    attention_in = model.attention_in(stream_BTD, layer)
    qkv = model.linear(attention_in, layer, "attention.query_key_value")
    qkv = qkv.view(num_seq, num_pos, shape.num_heads, 3 * shape.head_size).transpose(1, 2)
    query, key, value = qkv.chunk(3, dim=-1)
    rotary = model.rotary(num_pos)
    query, key = rotate(query, rotary), rotate(key, rotary)
    pattern = _own_pattern(query, key)
    own = pattern.diagonal(dim1=-2, dim2=-1)[..., None]
    mixed = pattern @ value.detach() + own * (value - value.detach())
    joined = mixed.transpose(1, 2).reshape(num_seq, num_pos, hidden)
    attention = model.linear(joined, layer, "attention.dense")
    middle = stream_BTD if shape.parallel_residual else stream_BTD + attention
    mlp_in = model.mlp_in(middle, layer)
    up = model.linear(mlp_in, layer, "mlp.dense_h_to_4h")
    mlp = model.linear(model.activation(up), layer, "mlp.dense_4h_to_h")
    dense = model.layer_param(layer, "attention.dense.weight")
    found = LayerPass(
        attention_in_BTD=attention_in,
        query_BHTK=query,
        key_BHTK=key,
        value_BHTK=value,
        pattern_BHTT=pattern,
        mixed_BHTK=mixed,
        output_HKD=dense.T.reshape(shape.num_heads, shape.head_size, hidden),
        mixed_in_BHT=(pattern.detach() @ attention_in.detach()[:, None]).square().sum(-1) + 1,
        mlp_in_BTD=mlp_in,
        up_BTF=up,
        down_DF=model.layer_param(layer, "mlp.dense_4h_to_h.weight"),
    )
    return found, stream_BTD + attention + mlp


def _own_pattern(query_BHTK: Tensor, key_BHTK: Tensor) -> Tensor:
    """Attention probabilities; keys of other positions are constants of the gradient."""
    num_pos, size = query_BHTK.shape[-2:]
    place = torch.arange(num_pos, device=query_BHTK.device)
    scores = query_BHTK @ key_BHTK.detach().transpose(-1, -2)
    own = (query_BHTK * key_BHTK).sum(-1, keepdim=True)
    scores = torch.where(place[:, None] == place, own, scores) / size**0.5
    pattern: Tensor = scores.masked_fill(place[:, None] < place, -torch.inf).softmax(-1)
    return pattern
