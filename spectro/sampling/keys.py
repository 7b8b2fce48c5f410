"""Randomness keyed by what it is for (design §2).

Noise is keyed by (seed, component, chain, step) and minibatches by (seed, chain, step), so no
worker carries a generator and all components of a chain see the same data. On a CPU the keys
address numpy's Philox counter directly, 128 bits wide; on CUDA they seed torch's own Philox.
The same device type gives the same numbers, on one worker or a hundred.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Randomness(Protocol):
    """Where a chain takes its noise and its data order from."""

    def noise(
        self, component: str, chain: int, step: int, like: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Standard normal noise in the shapes of a component's blocks."""
        ...

    def uniform(self, component: str, chain: int, step: int) -> float:
        """A number in (0, 1): whether a Metropolis step is accepted."""
        ...

    def minibatch(self, chain: int, step: int, num_sequences: int, batch_size: int) -> Tensor:
        """Indices of the sequences of one step, int64 [batch_size], all different."""
        ...

    def vocabulary_shift(self, chain: int, step: int, index: int) -> float:
        """A number in (0, 1): the u of a minibatch's sequence (models/sampled_softmax.py)."""
        ...


@dataclass(frozen=True, kw_only=True)
class KeyedRandomness:
    """The randomness of a run."""

    seed: int
    """Seed of the run."""

    def noise(
        self, component: str, chain: int, step: int, like: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Blocks are drawn one after the other, in the order of their names."""
        key = _key(self.seed, "noise", component, chain, step)
        device = next(iter(like.values())).device
        if device.type == "cpu":
            stream = np.random.Generator(np.random.Philox(key=key))
            return {name: _numpy_normal(stream, like[name]) for name in sorted(like)}
        generator = torch.Generator(device).manual_seed(key % 2**63)
        return {
            name: torch.randn(
                like[name].shape, generator=generator, device=device, dtype=like[name].dtype
            )
            for name in sorted(like)
        }

    def uniform(self, component: str, chain: int, step: int) -> float:
        """The same on every device; a multiple of 2^-53, never 0 or 1."""
        return _uniform(self.seed, "accept", component, chain, step)

    def vocabulary_shift(self, chain: int, step: int, index: int) -> float:
        """As `uniform`; all components of a chain see the same sample."""
        return _uniform(self.seed, "vocabulary", chain, step, index)

    def minibatch(self, chain: int, step: int, num_sequences: int, batch_size: int) -> Tensor:
        """Uniform without replacement.

        Raises ValueError if there are fewer sequences than the batch needs.
        """
        if batch_size > num_sequences:
            raise ValueError(
                f"a minibatch needs {batch_size} different sequences, the sampling set has "
                f"{num_sequences}: lower chain.batch_size or raise tokens.num_sampling_sequences"
            )
        key = _key(self.seed, "minibatch", chain, step)
        stream = np.random.Generator(np.random.Philox(key=key))
        return torch.from_numpy(stream.choice(num_sequences, batch_size, replace=False))


def _uniform(*parts: str | int) -> float:
    return ((_key(*parts) >> 76) + 0.5) / 2**52


def _key(*parts: str | int) -> int:
    """128-bit key of a purpose; parts are separated so that no two purposes collide."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def _numpy_normal(stream: np.random.Generator, like: Tensor) -> Tensor:
    dtype = np.float64 if like.dtype == torch.float64 else np.float32
    return torch.from_numpy(stream.standard_normal(tuple(like.shape), dtype=dtype)).to(like.dtype)
