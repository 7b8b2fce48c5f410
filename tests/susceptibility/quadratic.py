"""A model with quadratic losses, whose posterior is Gaussian.

The "model" is a vector θ; token y has loss  ℓ_y(θ) = a_yᵀθ + θᵀA_yθ/2  whatever its context. With
L = bᵀθ + θᵀHθ/2 the restricted posterior is the Gaussian N(μ, Σ), Σ = (nβ H_CC + γ)⁻¹ and
μ = −nβ Σ b_C, and for Gaussians
    E[ℓ_y] = a_yᵀμ + (tr A_yΣ + μᵀA_yμ)/2
    Cov(ℓ_x, ℓ_y) = (a_x + A_xμ)ᵀΣ(a_y + A_yμ) + tr(A_xΣA_yΣ)/2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spectro.models.architecture import Weights

SIZE, RESTRICTED, VOCAB = 5, 2, 12
GAMMA, NBETA = 20.0, 10.0


@dataclass(frozen=True)
class QuadraticGroup:
    """`GroupModel` in which the first `size` coordinates of θ move."""

    name: str
    size: int
    linear_VS: Tensor
    quadratic_VSS: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def weights(self, component: str) -> Weights:
        return {"theta": torch.zeros(self.size, dtype=torch.float64)}

    def prepare(self, ids_BT1: Tensor, top_k: None = None, sampled: None = None) -> Tensor:
        return ids_BT1[:, 1:]

    def clean_losses(self, clean: Tensor) -> Tensor:
        return torch.zeros(clean.shape, dtype=torch.float64)

    def losses(
        self, clean: Tensor, weights: Mapping[str, Weights], *, paired: bool = False
    ) -> dict[str, Tensor]:
        theta_RS = weights[self.name]["theta"]
        linear = theta_RS @ self.linear_VS[:, : self.size].T
        quadratic = torch.einsum(
            "rs,vst,rt->rv", theta_RS, self.quadratic_VSS[:, : self.size, : self.size], theta_RS
        )
        losses_RV = linear + quadratic / 2
        if not paired:
            return {self.name: losses_RV[:, clean]}
        shares = clean.view(len(losses_RV), -1, clean.shape[1])
        pairs = zip(losses_RV, shares, strict=True)
        return {self.name: torch.stack([own[targets] for own, targets in pairs])}


def random_tokens() -> dict[str, Tensor]:
    """Linear and quadratic terms of the losses, and a sequence with each token once as a target."""
    stream = torch.Generator().manual_seed(0)
    root = torch.randn(VOCAB, SIZE, SIZE, generator=stream, dtype=torch.float64)
    return {
        "linear": 2 * torch.randn(VOCAB, SIZE, generator=stream, dtype=torch.float64),
        "quadratic": root @ root.transpose(1, 2),
        "ids": torch.arange(-1, VOCAB).clamp(min=0)[None],
    }


def posterior(tokens: dict[str, Tensor], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the exact posterior of the first `size` coordinates."""
    b = tokens["linear"][:, :size].numpy().mean(0)
    H = tokens["quadratic"][:, :size, :size].numpy().mean(0)
    sigma = np.linalg.inv(NBETA * H + GAMMA * np.eye(size))
    return -NBETA * sigma @ b, sigma


def loss_moments(tokens: dict[str, Tensor], size: int) -> tuple[np.ndarray, np.ndarray]:
    """(E[ℓ_y], Cov(ℓ_x, ℓ_y)) of all tokens under that posterior."""
    a = tokens["linear"][:, :size].numpy()
    A = tokens["quadratic"][:, :size, :size].numpy()
    mu, sigma = posterior(tokens, size)
    mean = a @ mu + (np.einsum("vst,st->v", A, sigma) + np.einsum("s,vst,t->v", mu, A, mu)) / 2
    slope = a + A @ mu
    spread = A @ sigma
    return mean, slope @ sigma @ slope.T + np.einsum("xst,yts->xy", spread, spread) / 2
