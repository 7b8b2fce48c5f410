"""A run's own susceptibilities as many times over as a benchmark needs.

Shapes: N tokens, H columns, B tokens of a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Replicas:
    """A run's own χ, `copies` times over, with Gaussian noise on all copies but the first."""

    run: Path
    """Run folder; its product is read shard by shard."""
    copies: int
    noise: float = 0.3
    """Standard deviation of the noise, as a share of each column's own."""
    seed: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """N, H."""
        num_tokens = sum(self._read(path).shape[0] for path in self._shards)
        return num_tokens * self.copies, self._read(self._shards[0]).shape[1]

    @property
    def label_N(self) -> None:
        """Not known: real data."""
        return None

    def blocks(self) -> Iterator[Float32]:
        """Copy by copy, shard by shard."""
        for copy in range(self.copies):
            for index, path in enumerate(self._shards):
                yield self._noisy(self._read(path), copy, index)

    def _noisy(self, chi: Float32, copy: int, index: int) -> Float32:
        if copy == 0:
            return chi
        rng = np.random.default_rng((self.seed, copy, index))
        noise = rng.standard_normal(chi.shape, np.float32) * np.float32(self.noise)
        return chi + noise * self._deviation_H

    @cached_property
    def _shards(self) -> list[Path]:
        folder = self.run / "susceptibilities"
        shards = sorted(folder.glob("*.parquet"))
        if not shards:
            raise ValueError(f"found no Parquet files in {folder}: is {self.run} a finished run?")
        return shards

    @cached_property
    def _deviation_H(self) -> Float32:
        count, total, squares = 0, 0.0, 0.0
        for path in self._shards:
            chi = self._read(path).astype(np.float64)
            count, total = count + chi.shape[0], total + chi.sum(axis=0)
            squares = squares + (chi**2).sum(axis=0)
        deviation: Float32 = np.sqrt(squares / count - (total / count) ** 2).astype(np.float32)
        return deviation

    def _read(self, path: Path) -> Float32:
        column = parquet.read_table(path, columns=["chi"])["chi"].combine_chunks()
        flat = column.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat, np.float32).reshape(len(column), -1)
