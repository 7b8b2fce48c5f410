"""A sparse autoencoder, whatever library has written it.

    u = norm(x) − shift,    f = activation(u W_enc + b_enc),    x̂ = norm⁻¹(f W_dec + b_dec)

What libraries do besides is folded into the weights when a file is read. Shapes: n activations,
D their size, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

DENSE_ELEMENTS = 1 << 25
"""Numbers of a dense block of features that are held at once."""


class ActivationKind(StrEnum):
    """How features become sparse."""

    RELU = "relu"
    TOP_K = "topk"
    """The k largest of each token, after ReLU."""
    GROUP_MAX = "groupmax"
    """The largest of each of k groups of neighbouring features, after ReLU."""
    JUMP_RELU = "jumprelu"
    """ReLU of what exceeds a threshold per feature; BatchTopK is saved so."""
    GATED = "gated"
    """ReLU(e^r · uW + b_enc) where uW + b_gate > 0."""


class InputNorm(StrEnum):
    """Normalisation of every activation vector, undone in the reconstruction."""

    NONE = "none"
    LAYER_NORM = "layer_norm"
    """Less its mean, over (sd + 1e-5), sd unbiased."""
    CONSTANT_NORM = "constant_norm_rescale"
    """Scaled to norm √D."""


@dataclass(frozen=True, kw_only=True)
class Autoencoder:
    """Weights, float32; see the module for the equations."""

    w_enc_DF: Tensor
    b_enc_F: Tensor
    w_dec_FD: Tensor
    b_dec_D: Tensor
    shift_D: Tensor
    """Subtracted from the input: b_dec, or zeros."""
    kind: ActivationKind
    norm: InputNorm = InputNorm.NONE
    k: int = 0
    """Of `topk` and `groupmax`."""
    threshold_F: Tensor | None = None
    """Of `jumprelu`."""
    b_gate_F: Tensor | None = None
    """Of `gated`."""
    r_mag_F: Tensor | None = None
    """Of `gated`."""

    @property
    def num_inputs(self) -> int:
        """D."""
        return self.w_enc_DF.shape[0]

    @property
    def num_features(self) -> int:
        """F."""
        return self.w_enc_DF.shape[1]

    def to(self, device: torch.device) -> Autoencoder:
        """The same on another device."""
        moved: dict[str, Any] = {}
        for each in fields(self):
            if isinstance(value := getattr(self, each.name), Tensor):
                moved[each.name] = value.to(device)
        return replace(self, **moved)

    def features(self, x_nD: Tensor) -> Tensor:
        """f of some activations, dense [n, F], ≥ 0."""
        pre_nF = (self._normed(x_nD)[0] - self.shift_D) @ self.w_enc_DF
        return _ACTIVATIONS[self.kind](self, pre_nF)

    def decode(self, f_nF: Tensor, x_nD: Tensor) -> Tensor:
        """x̂ [n, D]; the input norm is that of x."""
        _, scale_n1, mean_n1 = self._normed(x_nD)
        return (f_nF @ self.w_dec_FD + self.b_dec_D) * scale_n1 + mean_n1

    def blocks(self, x_nD: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Which rows, and their features [b, F], in blocks of bounded size."""
        step = max(1, DENSE_ELEMENTS // self.num_features)
        for start in range(0, len(x_nD), step):
            rows = slice(start, min(start + step, len(x_nD)))
            yield rows, self.features(x_nD[rows])

    def _normed(self, x_nD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The normalised input, its scale [n, 1] and its mean [n, 1]."""
        one, zero = x_nD.new_ones(len(x_nD), 1), x_nD.new_zeros(len(x_nD), 1)
        if self.norm is InputNorm.NONE:
            return x_nD, one, zero
        if self.norm is InputNorm.CONSTANT_NORM:
            scale = x_nD.norm(dim=-1, keepdim=True) / self.num_inputs**0.5
            return x_nD / scale, scale, zero
        mean = x_nD.mean(dim=-1, keepdim=True)
        deviation = (x_nD - mean).std(dim=-1, keepdim=True)
        return (x_nD - mean) / (deviation + 1e-5), deviation, mean


def _relu(own: Autoencoder, pre_nF: Tensor) -> Tensor:
    return torch.relu(pre_nF + own.b_enc_F)


def _top_k(own: Autoencoder, pre_nF: Tensor) -> Tensor:
    values, index = torch.topk(_relu(own, pre_nF), own.k, dim=-1, sorted=False)
    return torch.zeros_like(pre_nF).scatter_(-1, index, values)


def _group_max(own: Autoencoder, pre_nF: Tensor) -> Tensor:
    grouped = _relu(own, pre_nF).reshape(len(pre_nF), own.k, -1)
    values, index = grouped.max(dim=-1, keepdim=True)
    return torch.zeros_like(grouped).scatter_(-1, index, values).flatten(-2)


def _jump_relu(own: Autoencoder, pre_nF: Tensor) -> Tensor:
    assert own.threshold_F is not None
    shifted = pre_nF + own.b_enc_F
    return torch.relu(shifted) * (shifted > own.threshold_F)


def _gated(own: Autoencoder, pre_nF: Tensor) -> Tensor:
    assert own.b_gate_F is not None
    assert own.r_mag_F is not None
    size = torch.relu(pre_nF * own.r_mag_F.exp() + own.b_enc_F)
    return size * (pre_nF + own.b_gate_F > 0)


_ACTIVATIONS: dict[ActivationKind, Callable[[Autoencoder, Tensor], Tensor]] = {
    ActivationKind.RELU: _relu,
    ActivationKind.TOP_K: _top_k,
    ActivationKind.GROUP_MAX: _group_max,
    ActivationKind.JUMP_RELU: _jump_relu,
    ActivationKind.GATED: _gated,
}
