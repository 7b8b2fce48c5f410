"""Configuration of the chains: length, thinning, minibatches; observables of their draws."""

from __future__ import annotations

import re
from collections.abc import Mapping
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


class QuerySplit(StrEnum):
    """Which sequences an observable is taken on."""

    EVALUATION = "evaluation"
    """Those on which ΔL is taken: their losses cost no further pass."""
    PROBE = "probe"
    """Those that are measured: one further pass along every draw."""


@dataclass(frozen=True, kw_only=True)
class ObservableConfig:
    """A number of every draw, whose covariance with the loss of each token is measured: the loss of
    chosen tokens (the Bayesian influence function), or a function of their logits."""

    tokens: tuple[int, ...] = ()
    """Tokens of the split, as `token_id` numbers them: sequence * T + position. The mean is taken.
    At most one of tokens, sequences and subset; none of them: all tokens of the split."""
    sequences: tuple[int, ...] = ()
    """Whole sequences of the split, by number."""
    subset: str | None = None
    """All sequences of one subset of the evaluation set."""
    split: QuerySplit = QuerySplit.EVALUATION
    """`evaluation` (on which ΔL is taken: their losses are free) or `probe` (the tokens measured:
    one further pass along every draw)."""
    function: str | None = None
    """`package.module:function` of logits [n, T, V] and targets [n, T] that returns a tensor of
    one value for every token [n, T], or one for the batch []; a whole forward pass along every
    draw. Its code is no part of the run's fingerprint. Null: the loss."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "split", QuerySplit(self.split))
        given = [n for n in ("tokens", "sequences", "subset") if getattr(self, n) not in ((), None)]
        if len(given) > 1:
            raise ValueError(f"give {given[0]} or {given[1]}, not both")
        if self.split is QuerySplit.PROBE and not (self.tokens or self.sequences):
            raise ValueError(
                "split probe needs tokens or sequences by number: a subset of it grows when tokens "
                "are added"
            )
        for name in ("tokens", "sequences"):
            chosen = tuple(getattr(self, name))
            object.__setattr__(self, name, chosen)
            if any(isinstance(n, bool) or not isinstance(n, Integral) or n < 0 for n in chosen):
                raise ValueError(f"{name} must be whole numbers from 0 on, found {list(chosen)}")
            if len(set(chosen)) < len(chosen):
                raise ValueError(f"{name} must name each once, found {list(chosen)}")
        if self.function is not None and not re.fullmatch(r"[\w.]+:\w+", self.function):
            raise ValueError(
                f"function must be an import path, package.module:function, found {self.function!r}"
            )


def require_observable_names(observables: Mapping[str, ObservableConfig]) -> None:
    """Raise ValueError for a name that cannot be part of a column's."""
    for name in observables:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name.endswith("_error"):
            raise ValueError(
                "observables: a name must be lower-case letters, digits and _, beginning with a "
                f"letter and not ending in _error; found {name!r}"
            )


_INTEGERS = ("num_chains", "num_draws", "batch_size", "draws_per_block")
