"""Rotary position embeddings: the model's own cosines and sines, and the rotation by halves.

Shapes: T positions, K head size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines of the rotary embedding, each [T, rotary dimensions]."""
RotaryOf = Callable[[int], Rotary]
"""By number of positions."""


def rotate(states: Tensor, rotary: Rotary) -> Tensor:
    """Apply the rotary embedding to the first dimensions of states [..., T, K]."""
    cos, sin = rotary
    size = cos.shape[-1]
    turned, rest = states[..., :size], states[..., size:]
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos + torch.cat((-second, first), dim=-1) * sin
    return torch.cat((turned, rest), dim=-1)


def model_rotary(model: PreTrainedModel) -> RotaryOf:
    """The table of a model with one rotary embedding for all layers."""
    return _RotaryTable(model)


def no_rotary(size: int) -> RotaryOf:
    """Of a model without values; it costs no product."""
    return lambda num_pos: (torch.empty(num_pos, size), torch.empty(num_pos, size))


class _RotaryTable:
    """Cosines and sines by context length, asked of the model's own module once each."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._module = model.base_model.rotary_emb
        self._like = model.get_output_embeddings().weight
        self._known: dict[int, Rotary] = {}

    def __call__(self, num_positions: int) -> Rotary:
        if num_positions not in self._known:
            positions = torch.arange(num_positions, device=self._like.device)[None]
            cos, sin = self._module(self._like[:0], positions)
            self._known[num_positions] = (cos[0], sin[0])
        return self._known[num_positions]
