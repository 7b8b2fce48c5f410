"""How well an autoencoder reconstructs what it is given, and how sparse its features are.

    FVU = Σ‖x − x̂‖² / Σ‖x − mean‖²          L0 = active features per token

Sums are float64 and add over shards. Shapes: n activations, D their size, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_FVU = 1.0
"""From here on a constant reconstructs better."""


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Sums over activations."""

    num: int
    """n."""
    error: float
    """Σ‖x − x̂‖²."""
    square: float
    """Σ‖x‖²."""
    sum_D: NDArray[np.float64]
    """Σx."""
    num_active: int
    """Active features of all tokens together."""

    @classmethod
    def of(cls, x_nD: Tensor, decoded_nD: Tensor, num_active: int) -> Reconstruction:
        """Of one block."""
        x, decoded = x_nD.double(), decoded_nD.double()
        return cls(
            num=len(x_nD),
            error=float((x - decoded).square().sum()),
            square=float(x.square().sum()),
            sum_D=x.sum(dim=0).cpu().numpy(),
            num_active=num_active,
        )

    def __add__(self, other: Reconstruction) -> Reconstruction:
        return Reconstruction(
            num=self.num + other.num,
            error=self.error + other.error,
            square=self.square + other.square,
            sum_D=self.sum_D + other.sum_D,
            num_active=self.num_active + other.num_active,
        )

    @property
    def fvu(self) -> float:
        """Fraction of variance unexplained; NaN for constant activations."""
        variance = self.square - float(self.sum_D @ self.sum_D) / max(1, self.num)
        return self.error / variance if variance > 0 else float("nan")

    @property
    def l0(self) -> float:
        """Active features per token."""
        return self.num_active / max(1, self.num)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For storage."""
        sums = np.array([self.num, self.error, self.square, self.num_active], np.float64)
        return {"sums": sums, "sum_D": self.sum_D}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Reconstruction:
        """From `arrays`."""
        num, error, square, num_active = arrays["sums"].tolist()
        return cls(
            num=int(num), error=error, square=square, sum_D=arrays["sum_D"],
            num_active=int(num_active),
        )  # fmt: skip


def check_reconstruction(found: Reconstruction, what: str) -> None:
    """Raise ValueError, in one line, where activations are not those of the autoencoder.

    Args:
        found: of a sample.
        what: autoencoder and model, for the message.
    """
    if not np.isfinite(found.error) or not np.isfinite(found.square):
        raise ValueError(f"{what}: activations or reconstructions are not finite")
    if not found.fvu < MAX_FVU:
        raise ValueError(
            f"{what}: the error of reconstruction is {found.fvu:.2f} of the variance (L0 "
            f"{found.l0:.0f}), expected below {MAX_FVU:g}, which a constant has: is the hook, the "
            "model or the normalisation of activations another one than in training? "
            "accept_mismatch=true accepts it"
        )


def sparse_rows(f_nF: Tensor) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Number of active features of every row [n], their indices and their values, row by row."""
    active_nF = f_nF > 0
    row, index = torch.nonzero(active_nF, as_tuple=True)
    count_n = torch.bincount(row, minlength=len(f_nF))
    return (
        count_n.cpu().numpy().astype(np.int32),
        index.cpu().numpy().astype(np.int32),
        f_nF[row, index].float().cpu().numpy(),
    )
