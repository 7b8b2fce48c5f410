"""How clusters are matched to features of sparse autoencoders."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import StrEnum


class ReadAt(StrEnum):
    """Where the feature of a token (x, y) is read."""

    TARGET = "target"
    """At the position of y: the model has read it."""
    CONTEXT = "context"
    """At the last position of x: the model predicts y."""


@dataclass(frozen=True, kw_only=True)
class MatchConfig:
    """Settings of the match. Raises ValueError for numbers out of range."""

    threshold: float = 0.5
    """Least F1 of a match."""
    levels: tuple[float, ...] = (1.0, 0.5, 0.25, 0.1)
    """A feature counts as active where its activation is among this share of its strongest; the
    best level is taken, of random sets too. 1: wherever it is above zero."""
    num_null: int = 99
    """Random sets of the same size and the same y per cluster; the least p is 1 / (1 + it)."""
    max_q: float = 0.05
    """Largest q-value (Benjamini and Hochberg) at which a match is more than its y."""
    num_features: int = 5
    """Best features that are kept of a cluster."""
    seed: int = 0
    """Key of the random sets."""

    def __post_init__(self) -> None:
        for name in ("threshold", "max_q"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise ValueError(f"match.{name} must be above 0 and at most 1, found {value}")
        falling = all(a > b for a, b in itertools.pairwise(self.levels))
        if not (self.levels and falling and self.levels[0] == 1 and self.levels[-1] > 0):
            raise ValueError(
                f"match.levels must fall from 1 and stay above 0, found {list(self.levels)}"
            )
        for name, least in (("num_null", 1), ("num_features", 1), ("seed", 0)):
            if (number := getattr(self, name)) < least:
                raise ValueError(f"match.{name} must be at least {least}, found {number}")


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """Settings of what features are read from. Raises ValueError for numbers out of range."""

    read_at: ReadAt = ReadAt.TARGET
    """`target`: where the model has read y; `context`: where it predicts y."""
    num_cells: int = 256
    """Cells of k-means of the activations, a baseline."""
    num_fitted: int = 16_384
    """Tokens, spread over the run, on which reconstruction is checked and cells are fitted."""

    def __post_init__(self) -> None:
        for name, least in (("num_cells", 1), ("num_fitted", 256)):
            if (number := getattr(self, name)) < least:
                raise ValueError(f"encode.{name} must be at least {least}, found {number}")
        if self.num_cells > self.num_fitted:
            raise ValueError(
                f"encode.num_cells is {self.num_cells}, more than the {self.num_fitted} tokens of "
                "encode.num_fitted that they are fitted on"
            )


@dataclass(frozen=True, kw_only=True)
class ReadingModelConfig:
    """Which model the autoencoder reads. Raises ValueError for a revision without a name."""

    name_or_path: str | None = None
    """As `model.name_or_path` of a run: a folder or a hub name; null: the run's own model. Another
    one with the run's tokenizer reads the same ids, else the same text."""
    revision: str | None = None
    """Hub revision of that model."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:0`, or `auto`: CUDA where there is one."""

    def __post_init__(self) -> None:
        if self.revision is not None and self.name_or_path is None:
            raise ValueError(
                f"model.revision is {self.revision!r} without model.name_or_path: the run's own "
                "model is read at the run's own revision"
            )


@dataclass(frozen=True, kw_only=True)
class TopKConfig:
    """Settings of the training. Raises ValueError for numbers out of range."""

    num_features: int = 2048
    """F."""
    k: int = 16
    """Active features per token."""
    learning_rate: float = 2e-3
    """Of Adam; falls linearly to zero over the last third."""
    dead_tokens: int = 200_000
    """Tokens without activity after which a feature counts as dead."""
    k_aux: int = 64
    """Dead features that reconstruct the error."""
    aux_weight: float = 1 / 32
    """α."""
    seed: int = 0
    """Of the initial decoder."""

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.num_features:
            raise ValueError(
                f"top_k.k must be from 1 to num_features={self.num_features}, found {self.k}"
            )
        for name in ("learning_rate", "dead_tokens", "k_aux"):
            if not (value := getattr(self, name)) > 0:
                raise ValueError(f"top_k.{name} must be above 0, found {value}")
