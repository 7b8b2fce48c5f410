"""Measured χ that a regression is trained on and judged by, and what is held out.

Tokens that share draws share their noise, and the noise of a draw is a function of the very
features that χ is predicted from: a network learns it, and along the same draws it then seems to
predict well. So each half of the draws of each token has the number of its *draw set*; a network
is trained without the token shards of one fold, and judged on them along draw sets that none of
its training tokens has.

Shapes: N tokens, H components; a leading 2 is the halves of the draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """χ from two disjoint halves of the draws of every token."""

    halves_2NH: FloatArray
    """χ from either half; χ of the token is their mean."""
    shard_N: IntArray
    """Token shard of every token."""
    draws_2N: IntArray
    """Draw set of either half of every token: equal numbers are the same draws."""

    def __post_init__(self) -> None:
        num_tokens = len(self.shard_N)
        if self.halves_2NH.shape[:2] != (2, num_tokens) or self.draws_2N.shape != (2, num_tokens):
            raise ValueError(
                f"halves and draw sets must be [2, {num_tokens}, ...] for {num_tokens} tokens, "
                f"found {self.halves_2NH.shape} and {self.draws_2N.shape}"
            )
        if not np.isfinite(self.halves_2NH).all():
            raise ValueError(
                "measured chi has values that are not finite in one of its halves: with one chain "
                "there are no halves, and nothing can be held out"
            )

    @classmethod
    def of_shards(cls, halves_2NH: FloatArray, shard_N: IntArray) -> Measured:
        """Every token shard with draws of its own (`chain.draws: per_shard`)."""
        shard_N = np.asarray(shard_N, np.int64)
        draws_2N = 2 * shard_N + np.array([[0], [1]])
        return cls(halves_2NH=halves_2NH, shard_N=shard_N, draws_2N=draws_2N)

    @classmethod
    def of_run(cls, halves_2NH: FloatArray, shard_N: IntArray) -> Measured:
        """The same draws for all tokens, in halves of the chains."""
        shard_N = np.asarray(shard_N, np.int64)
        draws_2N = np.zeros_like(shard_N) + np.array([[0], [1]])
        return cls(halves_2NH=halves_2NH, shard_N=shard_N, draws_2N=draws_2N)

    @property
    def chi_NH(self) -> FloatArray:
        """χ from all draws of a token."""
        mean_NH: FloatArray = self.halves_2NH.mean(0)
        return mean_NH

    @property
    def noise_NH(self) -> npt.NDArray[np.float64]:
        """Estimate of the noise variance of every χ: d²/4 of the halves' difference d, unbiased."""
        difference_NH = (self.halves_2NH[0] - self.halves_2NH[1]).astype(np.float64)
        noise_NH: npt.NDArray[np.float64] = difference_NH**2 / 4
        return noise_NH


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What one network is trained on, and what judges it."""

    train_N: npt.NDArray[np.bool_]
    """Tokens it is trained on."""
    train_halves: tuple[int, ...]
    """Halves of the draws whose mean it is trained on."""
    judge_N: npt.NDArray[np.bool_]
    """Tokens of the fold that it never sees."""
    judge_halves: tuple[int, ...]
    """Halves whose draw sets no training token has."""


def folds(measured: Measured, num_folds: int) -> IntArray:
    """Fold of every token, [N]: token shards in their order, in turn.

    Raises ValueError if there are fewer token shards than folds.
    """
    shards, place_N = np.unique(measured.shard_N, return_inverse=True)
    if len(shards) < num_folds:
        raise ValueError(
            f"predict.num_networks = {num_folds} networks each hold out token shards of their own: "
            f"at least {num_folds} shards are needed, found {len(shards)}; measure with smaller "
            "token shards or more of them"
        )
    fold_N: IntArray = (place_N % num_folds).astype(np.int64)
    return fold_N


def held_out(measured: Measured, num_folds: int, fold: int) -> HeldOut:
    """Tokens and halves of one fold: shards held out, and draw sets held out.

    With draws of their own for every shard all halves serve; draws that all shards share are
    parted, one half to train on and the other to judge by, in turn.

    Raises ValueError where no draw sets can be held out.
    """
    judge_N = folds(measured, num_folds) == fold
    both = (0, 1)
    for train_halves, judge_halves in ((both, both), ((1 - fold % 2,), (fold % 2,))):
        trained = measured.draws_2N[list(train_halves)][:, ~judge_N]
        judged = measured.draws_2N[list(judge_halves)][:, judge_N]
        if not np.isin(judged, trained).any():
            return HeldOut(
                train_N=~judge_N,
                train_halves=train_halves,
                judge_N=judge_N,
                judge_halves=judge_halves,
            )
    raise ValueError(
        "no draws can be held out: both halves of the held-out token shards have draws that "
        "training tokens have too; measure with chain.draws per_shard, or with at least 2 chains"
    )
