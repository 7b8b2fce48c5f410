"""Settings of the regression of χ on features of the clean pass, and of an upsampled run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

MIN_FOLDS = 2
"""Each fold of token shards is held out in turn: with one there is nothing left to train on."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """An ensemble of small networks, each trained without one fold of the token shards."""

    num_folds: int = 4
    """Folds of the token shards; two networks each, one for each half of the chains, never see
    the fold's shards."""
    hidden: int = 256
    """Units of each of the two hidden layers."""
    epochs: int = 8
    """Passes over the training tokens; more where that would be fewer than 250 steps."""
    learning_rate: float = 2e-3
    """Peak of the one-cycle schedule (AdamW)."""
    weight_decay: float = 0.1
    """Decoupled weight decay."""
    dropout: float = 0.1
    """Share of hidden units that a training step leaves out."""
    seed: int = 0
    """Of initial weights, order of tokens and dropout."""

    def __post_init__(self) -> None:
        if self.num_folds < MIN_FOLDS:
            raise ValueError(
                f"predict.num_folds must be at least {MIN_FOLDS} (each is held out in turn), "
                f"found {self.num_folds}"
            )
        for name in ("hidden", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"predict.{name} must be at least 1, found {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"predict.learning_rate must be positive, found {self.learning_rate}")
        if not self.weight_decay >= 0:
            raise ValueError(
                f"predict.weight_decay must not be negative, found {self.weight_decay}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"predict.dropout must be in [0, 1), found {self.dropout}")


@dataclass(frozen=True, kw_only=True)
class UpsampleConfig:
    """The measured run whose χ is learnt, as it was then, and how it is learnt."""

    source: str
    """URI of the measured run."""
    fingerprint: str
    """Of its inputs."""
    probe_sha256: str
    """Of the tokens that it had measured."""
    num_shards: int
    """Token shards that it had measured; they are the first of the upsampled run."""
    predict: PredictConfig = field(default_factory=PredictConfig)
    """Features, networks, and their training."""

    @property
    def num_folds(self) -> int:
        """Folds of the measured shards: as many as are asked for, at most one a shard."""
        return min(self.predict.num_folds, self.num_shards)

    def inputs(self) -> dict[str, Any]:
        """What of it determines predicted χ: the place of the measured run does not."""
        plain = dataclasses.asdict(self)
        del plain["source"]
        return plain
