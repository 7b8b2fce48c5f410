"""Packed token sequences.

Legend: S sequences, T context, T1 = T + 1 ids per sequence (the last is only a target).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spectro.tokens.sources.source_report import SourceReport


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """S sequences of T + 1 ids, each from one subset."""

    ids_ST1: NDArray[np.int32]
    """Token ids, int32 [S, T+1]; position t has context ids[:t+1] and target ids[t+1]."""
    subset_S: NDArray[np.int16]
    """Index into `subset_names` of each sequence, int16 [S]."""
    subset_names: tuple[str, ...]
    """Names of the subsets, also of those without a sequence here."""

    def __post_init__(self) -> None:
        if self.ids_ST1.ndim != 2 or self.ids_ST1.dtype != np.int32:
            raise ValueError(
                f"ids_ST1 must be int32 [S, T+1], found {self.ids_ST1.dtype} "
                f"of shape {self.ids_ST1.shape}"
            )
        if self.subset_S.shape != self.ids_ST1.shape[:1] or self.subset_S.dtype != np.int16:
            raise ValueError(
                f"subset_S must be int16 [{len(self.ids_ST1)}], found {self.subset_S.dtype} "
                f"of shape {self.subset_S.shape}"
            )

    def __len__(self) -> int:
        return len(self.ids_ST1)


@dataclass(frozen=True, kw_only=True)
class TokenSplits:
    """Three disjoint samples of the same subsets."""

    sampling: Sequences
    """Minibatches of the chains are drawn from these."""
    evaluation: Sequences
    """The fixed set E on which ΔL is taken."""
    probe: Sequences
    """The sequences whose tokens are measured."""
    reports: Mapping[str, SourceReport] = field(default_factory=dict)
    """Report of each source, by subset."""
