"""A model whose posterior is known exactly: coordinates that do not interact.

Sequence s has loss  ℓ_s(θ) = Σ_j (h_j θ_j²/2 + q_j θ_j⁴ + b_sj θ_j), at every position the same.
With b̄_j the mean over all sequences the restricted posterior is a product of
    p_j(θ) ∝ exp(−nβ (h_j θ²/2 + q_j θ⁴ + b̄_j θ) − γθ²/2),
whose moments are sums on a grid. Minibatches see other b_sj: their noise is known too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spectro.models.architecture import Weights

NUM_SEQUENCES = 32


@dataclass(frozen=True, kw_only=True)
class Separable:
    """`GroupModel` of one component; sequence ids are the first id of a sequence."""

    curvature_J: np.ndarray
    """h_j."""
    quartic_J: np.ndarray
    """q_j."""
    slope_SJ: np.ndarray
    """b_sj."""
    names: tuple[str, ...] = ("theta",)

    @classmethod
    def of(
        cls,
        *,
        size: int,
        curvature: float,
        quartic: float = 0.0,
        slope: float = 0.0,
        tilt: float = 0.0,
        seed: int = 0,
    ) -> Separable:
        """`size` coordinates of curvatures within a factor of two; slopes of that deviation, and
        a slope `tilt` of all sequences."""
        stream = np.random.default_rng(seed)
        slopes = slope * stream.normal(size=(NUM_SEQUENCES, size))
        return cls(
            curvature_J=curvature * stream.uniform(0.7, 1.4, size),
            quartic_J=np.full(size, quartic),
            slope_SJ=slopes - slopes.mean(axis=0) + tilt,
        )

    @property
    def ids(self) -> Tensor:
        """Sequences, int64 [S, 2]."""
        return torch.arange(NUM_SEQUENCES)[:, None].repeat(1, 2)

    def weights(self, component: str) -> Weights:
        return {"theta": torch.zeros(len(self.curvature_J), dtype=torch.float64)}

    def prepare(self, ids_BT1: Tensor, top_k: None = None, sampled: None = None) -> Tensor:
        return ids_BT1

    def clean_losses(self, clean: Tensor) -> Tensor:
        return torch.zeros(len(clean), clean.shape[1] - 1, dtype=torch.float64)

    def losses(
        self, clean: Tensor, weights: Mapping[str, Weights], *, paired: bool = False
    ) -> dict[str, Tensor]:
        theta_RJ = weights["theta"]["theta"]
        shared_RJ = torch.from_numpy(self.curvature_J) * theta_RJ**2 / 2
        shared_R = (shared_RJ + torch.from_numpy(self.quartic_J) * theta_RJ**4).sum(1)
        slope_BJ = torch.from_numpy(self.slope_SJ)[clean[:, 0]]
        width = clean.shape[1] - 1
        if paired:
            share_RbJ = slope_BJ.view(len(theta_RJ), -1, theta_RJ.shape[1])
            losses = shared_R[:, None] + torch.einsum("rj,rbj->rb", theta_RJ, share_RbJ)
        else:
            losses = shared_R[:, None] + theta_RJ @ slope_BJ.T
        return {"theta": losses[:, :, None].expand(-1, -1, width)}

    def exact(self, gamma: float, nbeta: float) -> tuple[float, float]:
        """(E[ΔL], its standard deviation under the posterior), on a grid per coordinate."""
        total_mean = total_variance = 0.0
        for h, q, b in zip(
            self.curvature_J, self.quartic_J, self.slope_SJ.mean(axis=0), strict=True
        ):
            theta = np.linspace(-8, 8, 4001) / np.sqrt(gamma)
            loss = h * theta**2 / 2 + q * theta**4 + b * theta
            log_p = -nbeta * loss - gamma * theta**2 / 2
            p = np.exp(log_p - log_p.max())
            p /= p.sum()
            mean = float(p @ loss)
            total_mean += mean
            total_variance += float(p @ (loss - mean) ** 2)
        return total_mean, float(np.sqrt(total_variance))
