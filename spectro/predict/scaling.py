"""Scaling of features and of χ before they enter a network.

Features have heavy tails and different scales: asinh((x − median) / spread), then mean 0 and
variance 1 over the training tokens.

Of χ the networks predict what all components share, and each component's own part:

    z_ih = (χ_ih − μ_h) / σ_h,    s_i = mean_h z_ih,    targets (s_i / sd(s), (z_ih − s_i) / τ_h)

The own parts are a small part of the variance of χ, but what clusters are made of; as targets of
their own they are no small part of the error.

Shapes: N tokens, F features, H components.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST = 1e-30
CLIP = 8.0
"""Standard deviations beyond which a feature is clipped, so that a token unlike all training tokens
is not extrapolated."""


@dataclass(frozen=True, kw_only=True)
class InputScaling:
    """Of the training tokens' features."""

    median_F: Tensor
    spread_F: Tensor
    """Median distance from the median; the standard deviation where that is zero."""
    mean_F: Tensor
    scale_F: Tensor
    """Mean and standard deviation after asinh."""

    @classmethod
    def of(cls, features_NF: Tensor) -> InputScaling:
        """Scaling of training features; a constant feature becomes 0."""
        median_F = features_NF.median(0).values
        distance_NF = (features_NF - median_F).abs()
        spread_F = distance_NF.median(0).values
        spread_F = torch.where(spread_F > 0, spread_F, _scale(distance_NF))
        bent_NF = torch.asinh((features_NF - median_F) / spread_F)
        mean_F = bent_NF.mean(0)
        return cls(
            median_F=median_F, spread_F=spread_F, mean_F=mean_F, scale_F=_scale(bent_NF - mean_F)
        )

    def to(self, device: torch.device | str) -> InputScaling:
        """The same on a device."""
        return InputScaling(**{name: tensor.to(device) for name, tensor in vars(self).items()})

    def forward(self, features_NF: Tensor) -> Tensor:
        """[N, F]."""
        bent_NF = torch.asinh((features_NF - self.median_F) / self.spread_F)
        return ((bent_NF - self.mean_F) / self.scale_F).clamp(-CLIP, CLIP)


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

    def to(self, device: torch.device | str) -> TargetScaling:
        """The same on a device."""
        return TargetScaling(**{name: tensor.to(device) for name, tensor in vars(self).items()})

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
