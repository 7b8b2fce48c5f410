"""Training targets, held-out folds of token shards, and the draw sets that no network has seen.

Tokens that share draws share their noise, and the noise of a draw is a function of the very
features that χ is predicted from: a network learns it, and along the same draws it then seems to
predict well. So each half of the draws of each token has the number of its *draw set*. The network
of a fold and a half learns from that half of all token shards but the fold's, and is judged on the
fold's along draw sets that none of its training tokens has.

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
    """χ from either half; χ of the token is their mean. May be memory-mapped."""
    shard_N: IntArray
    """Token shard of every token."""
    own_draws: bool
    """Whether every shard has separate draws (`chain.draws: per_shard`)."""

    def __post_init__(self) -> None:
        if self.halves_2NH.shape[:2] != (2, len(self.shard_N)):
            raise ValueError(
                f"halves must be [2, {len(self.shard_N)}, ...] for {len(self.shard_N)} tokens, "
                f"found {self.halves_2NH.shape}"
            )

    def draw_sets(self, half: int, rows_N: npt.NDArray[np.bool_]) -> IntArray:
        """Draw sets of one half of some tokens, sorted: equal numbers are the same draws."""
        shards = np.unique(self.shard_N[rows_N])
        return 2 * shards + half if self.own_draws else np.full(min(1, len(shards)), half, np.int64)

    def fold_N(self, num_folds: int) -> IntArray:
        """Fold of every token: token shards in turn."""
        fold_N: IntArray = self.shard_N % num_folds
        return fold_N

    def training_rows(self, num_folds: int, fold: int) -> npt.NDArray[np.intp]:
        """Tokens that the networks of a fold learn from, ascending.

        Raises ValueError where the fold holds out nothing, or everything.
        """
        is_held_out_N = self.fold_N(num_folds) == fold
        if is_held_out_N.all() or not is_held_out_N.any():
            raise ValueError(
                f"{num_folds} folds each hold out different token shards: at least {num_folds} "
                f"shards are needed, found {len(np.unique(self.shard_N))}; measure with smaller "
                "token shards or more of them"
            )
        return np.flatnonzero(~is_held_out_N)
