"""Units of an upsampled run: features of measured tokens, predictors, rows of all tokens (ADR 071).

Folds part the measured token shards; the predictor of a fold and a half of the chains has learnt
from that half's χ of all other shards. It is judged on its own fold's shards along the other half,
denoises them, and predicts tokens that were never measured together with the other folds'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spectro.cluster_stage.units import HALVES, Half
from spectro.formats.predictors import HELD_OUT, features_name, predictor_name
from spectro.work.units import AssemblyUnit, SummaryUnit, Unit


@dataclass(frozen=True, kw_only=True)
class LearningUnit(Unit):
    """What all units before the predictions have in common."""


@dataclass(frozen=True, kw_only=True)
class FeaturesUnit(LearningUnit):
    """Features of one measured token shard."""

    shard: int
    """Which tokens."""

    @property
    def stage(self) -> str:
        """See `Unit`."""
        return "features"

    @property
    def names(self) -> tuple[str, ...]:
        """See `Unit`."""
        return (features_name(self.shard),)


@dataclass(frozen=True, kw_only=True)
class TrainingUnit(LearningUnit):
    """One predictor, with what its own fold's shards say of it."""

    fold: int
    """Whose shards it has not seen."""
    num_folds: int
    """Folds in all: shard s is in fold s mod num_folds."""
    half: Half
    """Half of the chains that it learns from."""

    @property
    def stage(self) -> str:
        """See `Unit`."""
        return "training"

    @property
    def takes_all_cores(self) -> bool:
        """See `Unit`."""
        return True

    @property
    def names(self) -> tuple[str, ...]:
        """See `Unit`."""
        return (predictor_name(self.fold, self.half),)


@dataclass(frozen=True, kw_only=True)
class HeldOutUnit(LearningUnit):
    """Errors of all networks on shards and draws that they have not seen."""

    num_folds: int
    """Folds of the measured shards."""

    @property
    def stage(self) -> str:
        """See `Unit`."""
        return "training"

    @property
    def names(self) -> tuple[str, ...]:
        """See `Unit`."""
        return (HELD_OUT,)


@dataclass(frozen=True, kw_only=True)
class PredictionUnit(AssemblyUnit):
    """Predicted rows of one token shard; of a measured one prediction and measurement combined."""

    num_folds: int
    """Folds of the predictors."""

    @property
    def stage(self) -> str:
        """See `Unit`."""
        return "prediction"


@dataclass(frozen=True, kw_only=True)
class PredictionSummaryUnit(SummaryUnit):
    """What is known of every predicted column over all tokens."""

    num_folds: int
    """Folds of the predictors."""


def upsample_units(
    *,
    num_measured: int,
    shard_sizes: Sequence[int],
    num_folds: int,
    tokens: Unit,
    probe_sha256: str,
) -> PredictionSummaryUnit:
    """All units of an upsampled run; returns the last one, which needs the rest.

    Args:
        num_measured: token shards that the measured run has.
        shard_sizes: sequences of every token shard, the measured ones first.
        num_folds: of the measured shards; ≥ 2.
        tokens: what features need.
        probe_sha256: of all probe tokens.
    """
    features = tuple(
        FeaturesUnit(shard=shard, cost=float(shard_sizes[shard]), needs=(tokens,))
        for shard in range(num_measured)
    )
    cost = float(sum(shard_sizes[:num_measured]))
    trained = tuple(
        TrainingUnit(fold=fold, num_folds=num_folds, half=half, cost=cost, needs=features)
        for fold in range(num_folds)
        for half in HALVES
    )
    judged = HeldOutUnit(num_folds=num_folds, cost=cost / 10, needs=(*trained, *features))
    shards = tuple(
        PredictionUnit(
            shard=shard, groups=(), num_folds=num_folds, cost=float(size), needs=(judged, *trained)
        )
        for shard, size in enumerate(shard_sizes)
    )
    return PredictionSummaryUnit(
        num_shards=len(shards),
        groups=(),
        num_folds=num_folds,
        probe_sha256=probe_sha256,
        needs=shards,
    )
