"""Running sums of ΔL·Δℓ and Δℓ over draws, what a tile stores.

Shapes: C chains, N tokens of a shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class TileSums:
    """Sums of one component over the draws of each chain, for the tokens of one shard.

    A chain whose draws have several sets of weights has a row for each, one after the other.
    """

    weighted_CN: npt.NDArray[np.float32]
    """Σ_t ω_t ΔL(t) Δℓ_i(t), nats²."""
    plain_CN: npt.NDArray[np.float32]
    """Σ_t ω_t Δℓ_i(t), nats."""

    @classmethod
    def joined(cls, parts: Sequence[TileSums]) -> TileSums:
        """Sums of chains that follow each other, for the same tokens."""
        return cls(
            weighted_CN=np.concatenate([part.weighted_CN for part in parts]),
            plain_CN=np.concatenate([part.plain_CN for part in parts]),
        )

    def of_tokens(self, chosen_N: npt.NDArray[np.bool_]) -> TileSums:
        """The same of some tokens."""
        return TileSums(
            weighted_CN=self.weighted_CN[:, chosen_N], plain_CN=self.plain_CN[:, chosen_N]
        )
