"""One forward pass at w*, with every head by itself, and one backward pass.

Shapes: B sequences, T positions, D hidden size, H heads, K head size, F intermediate size,
V vocabulary, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spectro.models.gpt_neox import GPTNeoX, rotate


@dataclass(frozen=True, kw_only=True)
class LayerPass:
    """What one layer computes."""

    attention_in_BTD: Tensor
    """Normed stream that heads read."""
    pattern_BHTT: Tensor
    """Attention probabilities, zero above the diagonal."""
    mixed_BHTK: Tensor
    """Σ_j a_ij v_j of every head, before the output matrix."""
    output_HKD: Tensor
    """Output matrix of every head: its term is mixed · output."""
    mlp_in_BTD: Tensor
    """Normed stream that the MLP reads."""
    inner_BTF: Tensor
    """The MLP's activations."""
    mlp_BTD: Tensor
    """The MLP's term."""


@dataclass(frozen=True, kw_only=True)
class CleanPass:
    """A batch of sequences at w*."""

    streams: list[Tensor]
    """Residual stream entering each layer and the last one, L + 1 of [B, T, D]."""
    layers: list[LayerPass]
    """By layer."""
    hidden_BTD: Tensor
    """Final-normed stream."""
    log_p_BTV: Tensor
    """Log probabilities of the next token."""
    losses_BT: Tensor
    """ℓ at w*, nats."""
    gradients: list[Tensor]
    """∂ Σ ℓ / ∂ stream, by stream, [B, T, D]; the losses are those of all positions."""
    last_gradient_BTD: Tensor
    """∂ℓ / ∂ final-normed stream: only of the position itself."""


def clean_pass(model: GPTNeoX, ids_BT1: Tensor) -> CleanPass:
    """Run a batch [B, T+1] of int64 ids forward and back; on the model's device."""
    ids_BT1 = ids_BT1.to(model.device)
    with torch.enable_grad():
        stream = model.embed(ids_BT1[:, :-1]).detach().requires_grad_()
        streams, layers = [stream], []
        for layer in range(model.shape.num_layers):
            found, stream = _layer_pass(model, stream, layer)
            streams.append(stream)
            layers.append(found)
        hidden = model.suffix(stream, model.shape.num_layers)
        logits = functional.linear(hidden, model.params[model.unembed_name])
        log_p = logits.log_softmax(-1)
        losses = -log_p.gather(-1, ids_BT1[:, 1:, None])[..., 0]
        *gradients, last = torch.autograd.grad(losses.sum(), [*streams, hidden])
    return CleanPass(
        streams=[s.detach() for s in streams],
        layers=layers,
        hidden_BTD=hidden.detach(),
        log_p_BTV=log_p.detach(),
        losses_BT=losses.detach(),
        gradients=gradients,
        last_gradient_BTD=last,
    )


def _layer_pass(model: GPTNeoX, stream_BTD: Tensor, layer: int) -> tuple[LayerPass, Tensor]:
    shape = model.shape
    num_seq, num_pos, hidden = stream_BTD.shape
    attention_in = model.normed(stream_BTD, layer, "input_layernorm")
    qkv = model.linear(attention_in, layer, "attention.query_key_value")
    qkv = qkv.view(num_seq, num_pos, shape.num_heads, 3 * shape.head_size).transpose(1, 2)
    query, key, value = qkv.chunk(3, dim=-1)
    rotary = model.rotary(num_pos)
    scores = rotate(query, rotary) @ rotate(key, rotary).transpose(-1, -2)
    future = torch.ones(num_pos, num_pos, dtype=torch.bool, device=scores.device).triu(1)
    scores = (scores / shape.head_size**0.5).masked_fill(future, -torch.inf)
    pattern = scores.softmax(-1)
    mixed = pattern @ value
    joined = mixed.transpose(1, 2).reshape(num_seq, num_pos, hidden)
    attention = model.linear(joined, layer, "attention.dense")
    middle = stream_BTD if shape.parallel_residual else stream_BTD + attention
    mlp_in = model.normed(middle, layer, "post_attention_layernorm")
    inner = shape.activation(model.linear(mlp_in, layer, "mlp.dense_h_to_4h"))
    mlp = model.linear(inner, layer, "mlp.dense_4h_to_h")
    dense = model.layer_param(layer, "attention.dense.weight")
    found = LayerPass(
        attention_in_BTD=attention_in.detach(),
        pattern_BHTT=pattern.detach(),
        mixed_BHTK=mixed.detach(),
        output_HKD=dense.T.reshape(shape.num_heads, shape.head_size, hidden),
        mlp_in_BTD=mlp_in.detach(),
        inner_BTF=inner.detach(),
        mlp_BTD=mlp.detach(),
    )
    return found, stream_BTD + attention + mlp
