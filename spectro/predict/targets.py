"""χ as networks are trained on it, and back: what all components share apart from their own part.

    z_ih = (χ_ih − μ_h) / σ_h,    s_i = mean_h z_ih,    o_ih = (z_ih − s_i) / τ_h

The networks predict (s / sd(s), o): what is specific to a component is a small part of the variance
of χ, but what clusters are made of, and would have a small part of the error otherwise.

Shapes: N tokens, H components.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST = 1e-30


@dataclass(frozen=True, kw_only=True)
class TargetScaling:
    """μ, σ, τ and sd(s) of the training tokens."""

    mean_H: Tensor
    scale_H: Tensor
    own_scale_H: Tensor
    shared_scale: Tensor
    """[1]."""

    @classmethod
    def of(cls, chi_NH: Tensor) -> TargetScaling:
        """Scaling of training targets; a constant column has scale 1."""
        mean_H = chi_NH.mean(0)
        scale_H = _scale(chi_NH - mean_H)
        z_NH = (chi_NH - mean_H) / scale_H
        shared_N1 = z_NH.mean(1, keepdim=True)
        return cls(
            mean_H=mean_H,
            scale_H=scale_H,
            own_scale_H=_scale(z_NH - shared_N1),
            shared_scale=_scale(shared_N1),
        )

    def forward(self, chi_NH: Tensor) -> Tensor:
        """[N, 1 + H]: the shared part, then each component's own."""
        z_NH = (chi_NH - self.mean_H) / self.scale_H
        shared_N1 = z_NH.mean(1, keepdim=True)
        return torch.cat([shared_N1 / self.shared_scale, (z_NH - shared_N1) / self.own_scale_H], 1)

    def backward(self, target_NT: Tensor) -> Tensor:
        """χ [N, H]; own parts of a token are made to sum to zero, as they do in training."""
        shared_N1 = target_NT[:, :1] * self.shared_scale
        own_NH = target_NT[:, 1:] * self.own_scale_H
        own_NH = own_NH - own_NH.mean(1, keepdim=True)
        return (shared_N1 + own_NH) * self.scale_H + self.mean_H


def _scale(centred: Tensor) -> Tensor:
    scale = centred.square().mean(0).sqrt()
    return torch.where(scale > SMALLEST, scale, torch.ones_like(scale))
