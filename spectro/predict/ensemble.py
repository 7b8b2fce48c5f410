"""The ensemble of networks: predictions for unmeasured tokens and for held-out shards.

Every fold of the token shards has two networks, one for each half of the chains; shard s is in
fold s mod the number of folds, and no network of its fold has seen it.

Shapes: N tokens, F features, H components; a leading 2 is the halves of the chains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectro.predict.errors import ErrorCurves
from spectro.predict.network import Network

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """χ of tokens, predicted or denoised."""

    chi_NH: Floats
    """From both halves of the chains."""
    halves_2NH: Floats
    """The same from each half alone."""
    deviation_NH: Floats
    """Standard deviation of the error of `chi_NH`."""


@dataclass(frozen=True)
class Ensemble:
    """All networks of a run."""

    networks: Sequence[Sequence[Network]]
    """By fold, then half."""

    @property
    def num_folds(self) -> int:
        """Folds of the measured token shards."""
        return len(self.networks)

    def held_out(self, features_NF: Features, shard: int) -> Floats:
        """Predictions of a measured shard by the two networks of its fold, [2, N, H]."""
        own = self.networks[shard % self.num_folds]
        return np.stack([network.predict(features_NF) for network in own])

    def predict(self, features_NF: Features, curves: ErrorCurves) -> Estimate:
        """χ of tokens that no network has seen: the mean of all networks.

        The stated deviation is that of the networks of one fold, which is measured; the mean of
        all folds errs a little less, by its networks' mean square distance from it (Krogh &
        Vedelsby 1995). Raises ValueError as `Network.predict`.
        """
        halves_2NH = np.stack(
            [np.mean([own[half].predict(features_NF) for own in self.networks], 0)
             for half in (0, 1)]
        )  # fmt: skip
        chi_NH = halves_2NH.mean(0)
        return Estimate(
            chi_NH=chi_NH,
            halves_2NH=halves_2NH,
            deviation_NH=np.sqrt(curves.error_variance(chi_NH)),
        )
