"""Draws of a chain, wherever they come from: memory, storage, or their key.

A draw is the displacement δ = w − w* of one component. Independent Gaussian draws,
δ = ξ/√γ, are never stored: their key (seed, component, chain, pair) gives them again, bit for
bit, to whoever scores with them. With antithetic pairs draws 2k and 2k+1 are δ and −δ, so that
what is odd in δ cancels exactly in their mean (ADR 006).

Shapes: R draws of one slice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from spectro.sampling.config import DrawDtype
from spectro.sampling.keys import Randomness
from spectro.sampling.reweighted import Reweighted, Sampler
from spectro.sampling.samplers import Blocks, Gaussian

Draws = dict[str, Blocks]
"""Component → block → displacement from w* of every draw, [num_draws, *block shape]."""


class DrawSource(Protocol):
    """The draws of one chain of a group."""

    def read(self, component: str, draws: slice) -> Blocks:
        """Displacements of some of a component's draws, [R, *block shape] by block."""
        ...


@dataclass(frozen=True, kw_only=True)
class StackedDraws:
    """Draws in memory."""

    draws: Mapping[str, Mapping[str, torch.Tensor]]
    """Component → block → [num_draws, *block shape]."""

    def read(self, component: str, draws: slice) -> Blocks:
        """See `DrawSource`."""
        return {block: tensor[draws] for block, tensor in self.draws[component].items()}


@dataclass(frozen=True, kw_only=True)
class GaussianDraws:
    """Independent draws from N(w*, 1/γ), made from their keys when they are read."""

    weights: Mapping[str, Mapping[str, torch.Tensor]]
    """Component → block → w*, for shapes, type and device."""
    gamma: float
    """γ."""
    antithetic: bool
    """Whether draws 2k and 2k+1 are δ and −δ."""
    chain: int
    """Which chain's draws."""
    randomness: Randomness
    """Where noise comes from."""

    def read(self, component: str, draws: slice) -> Blocks:
        """See `DrawSource`."""
        like, scale = self.weights[component], 1.0 / math.sqrt(self.gamma)
        noise: dict[int, Blocks] = {}
        stacked: dict[str, list[torch.Tensor]] = {block: [] for block in like}
        for draw in range(draws.start, draws.stop):
            key, sign = (draw // 2, 1 - 2 * (draw % 2)) if self.antithetic else (draw, 1)
            if key not in noise:  # both of a pair are usually read together
                noise = {key: self.randomness.noise(component, self.chain, key, like)}
            for block, tensor in noise[key].items():
                stacked[block].append(tensor * (sign * scale))
        return {block: torch.stack(tensors) for block, tensors in stacked.items()}


def gaussian_draws(
    weights: Mapping[str, Mapping[str, torch.Tensor]],
    sampler: Sampler,
    chain: int,
    randomness: Randomness,
) -> GaussianDraws:
    """The independent draws of a sampler's chain."""
    return GaussianDraws(
        weights=weights,
        gamma=sampler.gamma,
        antithetic=isinstance(sampler, Gaussian | Reweighted) and sampler.antithetic,
        chain=chain,
        randomness=randomness,
    )


@dataclass(frozen=True, kw_only=True)
class JoinedDraws:
    """Draws of a group whose components come from different sources."""

    sources: Mapping[str, DrawSource]
    """Component → where its draws are."""

    def read(self, component: str, draws: slice) -> Blocks:
        """See `DrawSource`."""
        return self.sources[component].read(component, draws)


def stack(draws: Sequence[Blocks]) -> Blocks:
    """Single draws, one after the other, as one block each [R, *block shape]."""
    return {block: torch.stack([draw[block] for draw in draws]) for block in draws[0]}


def rounded(draw: Blocks, dtype: DrawDtype) -> Blocks:
    """A draw as it is kept; everything that is said of it is said of the rounded one."""
    if dtype is DrawDtype.FLOAT32:
        return draw
    return {block: tensor.to(torch.bfloat16) for block, tensor in draw.items()}
