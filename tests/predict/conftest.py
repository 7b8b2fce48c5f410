"""Planted truth: χ that is a known function of features, with known noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from spectro.predict.config import PredictConfig
from spectro.predict.ensemble import Ensemble
from spectro.predict.held_out import HeldOutScores, score_held_out
from spectro.predict.measured import Measured
from spectro.predict.network import train_network
from tests.models.conftest import make_model  # noqa: F401 - a fixture

FloatArray = npt.NDArray[np.float64]
NUM_SHARDS, PER_SHARD, NUM_FEATURES, NUM_COLUMNS = 16, 256, 10, 5


@dataclass(frozen=True)
class Planted:
    """4096 tokens in 16 shards, and a generator for their noise."""

    features_NF: npt.NDArray[np.float32]
    truth_NH: FloatArray
    """Linear in the features, of variance 1."""
    shard_N: npt.NDArray[np.int64]
    rng: np.random.Generator

    def noisy_halves(self, deviation: float) -> FloatArray:
        """Two halves whose mean has noise of this deviation, independent for every token."""
        noise_2NH = self.rng.normal(size=(2, *self.truth_NH.shape)) * deviation * np.sqrt(2)
        return self.truth_NH + noise_2NH


@pytest.fixture
def planted() -> Planted:
    rng = np.random.default_rng(0)
    num_tokens = NUM_SHARDS * PER_SHARD
    features = rng.normal(size=(num_tokens, NUM_FEATURES)).astype(np.float32)
    mixing = rng.normal(size=(NUM_FEATURES, NUM_COLUMNS))
    truth = features @ (mixing / np.linalg.norm(mixing, axis=0))
    shard_N = np.repeat(np.arange(NUM_SHARDS), PER_SHARD)
    return Planted(features, truth, shard_N, rng)


@pytest.fixture
def config() -> PredictConfig:
    """Small and quick: 4 folds, networks of 32 units."""
    return PredictConfig(num_folds=4, hidden=32, dropout=0.0)


@dataclass(frozen=True)
class Learnt:
    """All networks, and what the tokens that they learnt from say of them."""

    ensemble: Ensemble
    judged: HeldOutScores
    held_out_2NH: FloatArray
    """Prediction of every token by the networks of its fold."""


def learn(
    features_NF: npt.NDArray[np.float32], measured: Measured, config: PredictConfig
) -> Learnt:
    """Train and judge all networks, as a run's units do."""
    ensemble = Ensemble(
        [
            [train_network(features_NF, measured, config, fold, half) for half in (0, 1)]
            for fold in range(config.num_folds)
        ]
    )
    rows = {s: slice(s * PER_SHARD, (s + 1) * PER_SHARD) for s in range(NUM_SHARDS)}
    held_out = [ensemble.held_out(features_NF[rows[s]], s) for s in rows]
    judged = score_held_out(ensemble, features_NF, measured, rows)
    return Learnt(ensemble, judged, np.concatenate(held_out, 1))
