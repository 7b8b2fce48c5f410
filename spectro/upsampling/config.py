"""What an upsampled run is made from: a measured run, and how its χ is learnt (design §7)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from spectro.predict.config import PredictConfig


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
