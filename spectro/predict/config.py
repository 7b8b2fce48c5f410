"""How the regression of χ on features of the clean pass is trained."""

from __future__ import annotations

from dataclasses import dataclass

MIN_NETWORKS = 2
"""Each network holds out its own fold of token shards: with one there is nothing left to train."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """An ensemble of small networks, each trained without one fold of the token shards."""

    num_networks: int = 4
    """Networks, and folds: network k never sees the token shards of fold k."""
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
        if self.num_networks < MIN_NETWORKS:
            raise ValueError(
                f"predict.num_networks must be at least {MIN_NETWORKS} (each holds out a fold of "
                f"the token shards), found {self.num_networks}"
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
