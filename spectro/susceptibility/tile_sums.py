"""Running sums over draws of ΔL·Δℓ, Δℓ and further observables times Δℓ, what a tile stores.

Shapes: C chains, N tokens of a shard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
    observed: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    """Further observable φ_q → Σ_t ω_t φ_q(t) Δℓ_i(t), [C, N]."""

    @classmethod
    def joined(cls, parts: Sequence[TileSums]) -> TileSums:
        """Sums of chains that follow each other, for the same tokens."""
        return cls(
            weighted_CN=np.concatenate([part.weighted_CN for part in parts]),
            plain_CN=np.concatenate([part.plain_CN for part in parts]),
            observed={
                name: np.concatenate([part.observed[name] for part in parts])
                for name in parts[0].observed
            },
        )

    def of_chains(self, rows: Sequence[int]) -> TileSums:
        """The same of some rows."""
        return self._indexed(list(rows))

    def of_tokens(self, chosen_N: npt.NDArray[np.bool_]) -> TileSums:
        """The same of some tokens."""
        return self._indexed((slice(None), chosen_N))

    def _indexed(self, index: Any) -> TileSums:
        return TileSums(
            weighted_CN=self.weighted_CN[index],
            plain_CN=self.plain_CN[index],
            observed={name: sums_CN[index] for name, sums_CN in self.observed.items()},
        )
