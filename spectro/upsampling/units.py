"""Units of an upsampled run: features of measured tokens, predictors, rows of all tokens (ADR 071).

Folds part the measured token shards; the predictor of a fold and a half of the chains has learnt
from that half's χ of all other shards. It is judged on its own fold's shards along the other half,
denoises them, and predicts tokens that were never measured together with the other folds'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from spectro.cluster_stage.units import HALVES, Half
from spectro.formats.predictors import HELD_OUT, features_name, predictor_name
from spectro.measure.units import AssemblyUnit, SummaryUnit, TokensUnit
from spectro.work.stage import RunPlan
from spectro.work.units import Unit


@dataclass(frozen=True, kw_only=True)
class FeaturesUnit(Unit):
    """Features of one measured token shard."""

    stage: ClassVar[str] = "features"
    shard: int
    """Which tokens."""

    @property
    def names(self) -> tuple[str, ...]:
        return (features_name(self.shard),)

    def superseded_by(self, name: str) -> tuple[str, ...]:
        """The errors of the predictors that learnt from it."""
        return (HELD_OUT,)


@dataclass(frozen=True, kw_only=True)
class TrainingUnit(Unit):
    """One predictor, with its errors on its own fold's shards."""

    stage: ClassVar[str] = "training"
    takes_all_cores: ClassVar[bool] = True
    fold: int
    """Whose shards it has not seen."""
    num_folds: int
    """Folds in all: shard s is in fold s mod num_folds."""
    half: Half
    """Half of the chains that it learns from."""

    @property
    def names(self) -> tuple[str, ...]:
        return (predictor_name(self.fold, self.half),)


@dataclass(frozen=True, kw_only=True)
class HeldOutUnit(Unit):
    """Errors of all networks on shards and draws that they have not seen."""

    stage: ClassVar[str] = "training"
    num_folds: int
    """Folds of the measured shards."""

    @property
    def names(self) -> tuple[str, ...]:
        return (HELD_OUT,)


@dataclass(frozen=True, kw_only=True)
class PredictionUnit(AssemblyUnit):
    """Predicted rows of one token shard; of a measured one prediction and measurement combined."""

    stage: ClassVar[str] = "prediction"
    num_folds: int
    """Folds of the predictors."""


@dataclass(frozen=True, kw_only=True)
class PredictionSummaryUnit(SummaryUnit):
    """Reliability and errors of every predicted column over all tokens."""

    stage: ClassVar[str] = "prediction"
    num_folds: int
    """Folds of the predictors."""


def predicted_units(plan: RunPlan) -> list[Unit]:
    """Shards and summary of an upsampled run; nothing for a run that measures."""
    upsample = plan.config.upsample
    if upsample is None:
        return []
    summary = upsample_units(
        num_measured=upsample.num_shards,
        shard_sizes=plan.tokens.splits["probe"].shard_sizes,
        num_folds=upsample.num_folds,
        tokens=TokensUnit(),
        probe_sha256=plan.tokens.probe_sha256,
    )
    return [*summary.needs, summary]


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
