"""Configuration of the chains: number, draws, thinning interval, burn-in, minibatches."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from numbers import Integral

from spectro.settings import refuse_without_effect


class DrawDtype(StrEnum):
    """What stepped draws are rounded to, before anything is measured along them."""

    FLOAT32 = "float32"
    """As the chain has them: not rounded (of a float64 model they are float64)."""
    BFLOAT16 = "bfloat16"
    """Half the bytes in storage. The chain goes on unrounded."""


class TokenDraws(StrEnum):
    """Which tokens share draws."""

    SHARED = "shared"
    """All token shards: they have the same noise."""
    PER_SHARD = "per_shard"
    """Those of one token shard: noise averages over shards, where something is learnt from them."""


@dataclass(frozen=True, kw_only=True)
class ChainConfig:
    """Number and length of the chains of every component."""

    num_chains: int = 4
    """Independent chains per component, along which a token is measured; ≥ 1. Reliability and
    standard errors need 2."""
    draws: TokenDraws = TokenDraws.SHARED
    """Whether all token shards have the same draws, or each its own `num_chains` chains. ΔL of
    own draws costs passes over the evaluation set for each shard, and chains that step do so
    for each."""
    num_draws: int = 100
    """Draws per chain, at most where `target_reliability` is set; ≥ 1."""
    steps_between_draws: int | None = None
    """Steps from one draw to the next; ≥ 1. None: as many as the chain needs until the
    correlation of two draws is at most `max_draw_correlation`, measured after burn-in."""
    max_draw_correlation: float = 0.1
    """See `steps_between_draws`; in (0, 1)."""
    num_burnin_steps: int = 8
    """Steps before the first draw's step; ≥ 0, and ≥ 1 where `steps_between_draws` is measured:
    a chain's first steps lead away from w*, and their correlation says nothing. A `mala` chain
    takes at least twice its autocorrelation time."""
    batch_size: int = 16
    """Sequences per minibatch; ≥ 1. Without effect for `mala` and `reweighted`, whose steps see the
    whole evaluation set, and for `gaussian`; but for an unpaired baseline."""
    target_reliability: float | None = None
    """A component's draws end when the reliability of its column, as its own chain sees it on
    the evaluation set, is at least this; in (0, 1). None: `num_draws` for all."""
    draws_per_block: int = 8
    """Draws after which the target is checked; even, so that antithetic pairs stay together."""
    draw_dtype: DrawDtype = DrawDtype.FLOAT32
    """What stepped draws are rounded to; Δℓ, ΔL and the stored draw are all of the rounded one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "draw_dtype", DrawDtype(self.draw_dtype))
        object.__setattr__(self, "draws", TokenDraws(self.draws))
        for name in ("steps_between_draws", *_INTEGERS, "num_burnin_steps"):
            value = getattr(self, name)
            if value is None and name == "steps_between_draws":
                continue
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise ValueError(f"chain.{name} must be a whole number, found {value!r}")
        for name in _INTEGERS:
            if getattr(self, name) < 1:
                raise ValueError(f"chain.{name} must be at least 1, found {getattr(self, name)}")
        if self.steps_between_draws is not None and self.steps_between_draws < 1:
            raise ValueError(
                "chain.steps_between_draws must be at least 1 (or null to have it measured), "
                f"found {self.steps_between_draws}"
            )
        if self.num_burnin_steps < 0:
            raise ValueError(
                f"chain.num_burnin_steps must be at least 0, found {self.num_burnin_steps}"
            )
        if self.draws_per_block % 2:
            raise ValueError(f"chain.draws_per_block must be even, found {self.draws_per_block}")
        for name in ("max_draw_correlation", "target_reliability"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ValueError(f"chain.{name} must be between 0 and 1, found {value}")

        if self.steps_between_draws is not None:
            reason = "where chain.steps_between_draws is given: no distance of draws is measured"
            refuse_without_effect(self, "chain.", {"max_draw_correlation": reason})

    def require_burnin(self) -> None:
        """Raise ValueError where a stepped chain's distance would be measured from w* on."""
        if self.steps_between_draws is None and self.num_burnin_steps == 0:
            raise ValueError(
                "chain.steps_between_draws is null (measured) with chain.num_burnin_steps 0: the "
                "first draw would lie one step from w*, and what is measured from there is growth, "
                "not memory. Give num_burnin_steps (8 forget w* at the step sizes of "
                "conf/sampler), or steps_between_draws"
            )

    def of_shard(self, shard: int) -> range:
        """Chains along which a token shard is measured; numbers, and so keys, that no other shard
        has where it has its own."""
        first = shard * self.num_chains if self.draws is TokenDraws.PER_SHARD else 0
        return range(first, first + self.num_chains)

    def of_shards(self, num_shards: int) -> range:
        """Chains of the first so many token shards."""
        return range(self.of_shard(max(num_shards, 1) - 1).stop)

    def batches(self, together: int, shard: int = 0) -> list[range]:
        """A shard's chains in batches that step together; the last batch may be smaller.

        Raises ValueError unless at least one steps at a time.
        """
        if together < 1:
            raise ValueError(f"chains_together must be at least 1, found {together}")
        own = self.of_shard(shard)
        return [own[first : first + together] for first in range(0, len(own), together)]


_INTEGERS = ("num_chains", "num_draws", "batch_size", "draws_per_block")
