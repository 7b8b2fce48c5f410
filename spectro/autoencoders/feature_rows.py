"""Active features of every token, sparse: those that are stored, and the same at levels.

Shapes: N tokens, F features, L levels, G = F · L columns (feature · L + level).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class FeatureRows:
    """Active features of every token, row by row."""

    start_N1: NDArray[np.int64]
    """First place of every token in `index`, and their number at the end, [N + 1]."""
    index: NDArray[np.unsignedinteger]
    """Columns: features, or features at levels."""
    num_features: int
    """F."""
    num_levels: int = 1
    """L."""

    @property
    def num_columns(self) -> int:
        """G."""
        return self.num_features * self.num_levels

    def at_levels(self, value: NDArray[np.floating], levels: Sequence[float]) -> FeatureRows:
        """The same features, active where they are among their strongest, at each level.

        Args:
            value: activations, beside `index`.
            levels: shares of a feature's active tokens; ties go to earlier tokens.
        """
        row = np.repeat(np.arange(self.num_tokens), np.diff(self.start_N1))
        index = self.index.astype(np.int64)
        order = np.lexsort((-value, index))
        count_F = self.num_active()
        first_F = np.cumsum(count_F) - count_F
        share = np.empty(index.size)
        share[order] = np.arange(1, index.size + 1) - first_F[index[order]]
        share /= count_F[index]
        kept = [np.flatnonzero(share <= level) for level in levels]
        columns = np.concatenate([index[k] * len(levels) + n for n, k in enumerate(kept)])
        rows = np.concatenate([row[k] for k in kept])
        order = np.argsort(rows, kind="stable")
        ends = np.bincount(rows, minlength=self.num_tokens).cumsum()
        num_columns = self.num_features * len(levels)
        return FeatureRows(
            start_N1=np.concatenate([[0], ends]).astype(np.int64),
            index=columns[order].astype(np.uint16 if num_columns <= 1 << 16 else np.uint32),
            num_features=self.num_features,
            num_levels=len(levels),
        )

    @classmethod
    def one_each(cls, label_N: NDArray[np.integer]) -> FeatureRows:
        """One feature per token: its label, made dense; a partition as a dictionary."""
        values, dense_N = np.unique(label_N, return_inverse=True)
        return cls(
            start_N1=np.arange(label_N.size + 1, dtype=np.int64),
            index=dense_N.astype(np.uint32),
            num_features=values.size,
        )

    @property
    def num_tokens(self) -> int:
        """N."""
        return self.start_N1.size - 1

    def num_active(self) -> NDArray[np.int64]:
        """Tokens of each column, [G]."""
        return np.bincount(self.index, minlength=self.num_columns).astype(np.int64)
