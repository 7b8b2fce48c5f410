"""Work of an upsampled run: flops and bytes of every unit.

Features are counted from the very call that makes them, on tensors without values, by the
convention of models/cost/flop_counter.py; networks by their matrix products: forward 2, backward 4
flops per weight and token, 2 for the first layer, whose inputs need no gradient.

Shapes: n sequences, T positions, F features, H components.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from spectro.cluster_stage.units import HALVES
from spectro.models.cost.flop_counter import FusedAttention, WholeSequences, counting
from spectro.models.cost.weightless import weightless_model
from spectro.models.size import ModelSize
from spectro.planning.unit_work import FLOAT_BYTES, HALVES_ROW_BYTES, ID_BYTES, ROW_BYTES, Work
from spectro.predict.config import PredictConfig
from spectro.predict.features import feature_tensor, num_features
from spectro.predict.network import num_epochs
from spectro.upsampling.learning import MAX_JUDGED, sequences_at_once

ROW_IDS = 8
"""Bytes of a row of deviations but for the deviations."""


@cache
def features_flops(size: ModelSize, num_pos: int) -> float:
    """Flops of the features of one token, in batches as `features_of` takes them."""
    num_seq = sequences_at_once(num_pos)
    with _without_values(size):
        model = weightless_model(size)
        ids = torch.zeros((num_seq, num_pos + 1), dtype=torch.int64)
        with counting() as counter:
            feature_tensor(model, ids)
    return float(counter.get_total_flops() / (num_seq * num_pos))


@contextmanager
def _without_values(size: ModelSize) -> Iterator[None]:
    """Models of transformers run on the meta device, the engines in a mode that fakes tensors."""
    if not size.is_universal:
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield
        return
    with torch.device("meta"), FusedAttention(), WholeSequences():
        yield


def network_flops(size: ModelSize, num_columns: int, predict: PredictConfig) -> tuple[int, int]:
    """Of one token: predicting it with one network, and learning from it once."""
    num_features, hidden = num_features_of(size), predict.hidden
    first = 2 * num_features * hidden
    rest = 2 * hidden * (hidden + num_columns + 1)
    return first + rest, 2 * first + 3 * rest


def num_features_of(size: ModelSize) -> int:
    """F."""
    return num_features(size)


@dataclass(frozen=True, kw_only=True)
class UpsampleRecord:
    """Tokens that a finished run recorded, by what was done with them."""

    feature_tokens: int
    """Measured tokens whose features networks learnt from."""
    learnt_tokens: int
    """Tokens that networks learnt from, once for every network and pass over them."""
    judged_tokens: int
    """Tokens that networks were judged on."""
    measured_tokens: int
    """Measured tokens with rows."""
    new_tokens: int
    """Other tokens with rows."""


@dataclass(frozen=True, kw_only=True)
class UpsampleWork:
    """What the counts depend on."""

    size: ModelSize
    """The model."""
    context: int
    """T."""
    num_columns: int
    """H."""
    measured_sizes: tuple[int, ...]
    """Sequences of every measured token shard."""
    shard_sizes: tuple[int, ...]
    """Sequences of all token shards, the measured ones first."""
    predict: PredictConfig
    """How χ is learnt."""

    @property
    def num_folds(self) -> int:
        """Folds of the measured shards."""
        return min(self.predict.num_folds, len(self.measured_sizes))

    def units(self) -> dict[str, list[Work]]:
        """Work of every unit, by stage."""
        num_measured = self.context * sum(self.measured_sizes)
        return {
            "features": [self._features(n, written=True) for n in self.measured_sizes],
            "training": [
                *(self._training(num_measured) for _ in range(self.num_folds) for _ in HALVES),
                self._judging(min(num_measured, MAX_JUDGED)),
            ],
            "prediction": [
                self._prediction(n, is_measured=shard < len(self.measured_sizes))
                for shard, n in enumerate(self.shard_sizes)
            ],
        }

    def done(self, record: UpsampleRecord) -> dict[str, Work]:
        """Work of each stage by what a finished run recorded; units are its objects."""
        num_units = {stage: len(units) for stage, units in self.units().items()}
        measured, new = (n // self.context for n in (record.measured_tokens, record.new_tokens))
        found = {
            "features": self._features(record.feature_tokens // self.context, written=True),
            "training": self._learning(record.learnt_tokens, record.feature_tokens)
            + self._judging(record.judged_tokens),
            "prediction": self._prediction(measured, is_measured=True)
            + self._prediction(new, is_measured=False),
        }
        return {stage: replace(work, num_units=num_units[stage]) for stage, work in found.items()}

    @property
    def feature_bytes(self) -> int:
        """Of one token."""
        return FLOAT_BYTES * num_features_of(self.size)

    @property
    def mapped_bytes(self) -> int:
        """Bytes of features that all networks read from a machine's scratch while they learn."""
        learnt = self.context * sum(self.measured_sizes) * (self.num_folds - 1)
        passes = num_epochs(learnt // self.num_folds, self.predict)
        return len(HALVES) * learnt * passes * self.feature_bytes

    @property
    def network_bytes(self) -> int:
        """Of one network."""
        hidden = self.predict.hidden
        weights = hidden * (num_features_of(self.size) + hidden + self.num_columns + 1)
        return FLOAT_BYTES * weights

    def _features(self, num_seq: int, *, written: bool) -> Work:
        num_tokens = num_seq * self.context
        return Work(
            stepping_flops=round(features_flops(self.size, self.context) * num_tokens),
            read_bytes=ID_BYTES * num_seq * (self.context + 1),
            written_bytes=self.feature_bytes * num_tokens if written else 0,
            num_units=1,
        )

    def _training(self, num_measured: int) -> Work:
        """One network's share."""
        learnt = num_measured * (self.num_folds - 1) // self.num_folds
        visits, networks = learnt * num_epochs(learnt, self.predict), len(HALVES) * self.num_folds
        whole = self._learning(visits * networks, num_measured)
        return replace(
            whole,
            stepping_flops=whole.stepping_flops // networks,
            read_bytes=whole.read_bytes // networks,
            written_bytes=self.network_bytes,
            num_units=1,
        )

    def _learning(self, visits: int, num_measured: int) -> Work:
        """All networks: so many tokens learnt from, once for every pass over them.

        A machine reads all features and half estimates from storage once, and keeps them on its
        disk; its networks share them.
        """
        _, flops = network_flops(self.size, self.num_columns, self.predict)
        return Work(
            stepping_flops=flops * visits,
            read_bytes=num_measured * (self.feature_bytes + 2 * FLOAT_BYTES * self.num_columns),
            written_bytes=len(HALVES) * self.num_folds * self.network_bytes,
        )

    def _judging(self, num_judged: int) -> Work:
        flops, _ = network_flops(self.size, self.num_columns, self.predict)
        return Work(scoring_flops=len(HALVES) * flops * num_judged, num_units=1)

    def _prediction(self, num_seq: int, *, is_measured: bool) -> Work:
        """Features once more, all networks of both halves (a measured shard's: its fold's)."""
        num_tokens = num_seq * self.context
        flops, _ = network_flops(self.size, self.num_columns, self.predict)
        networks = len(HALVES) * (1 if is_measured else self.num_folds)
        row_bytes = ROW_BYTES + HALVES_ROW_BYTES + ROW_IDS + 4 * FLOAT_BYTES * self.num_columns
        read = num_tokens * 2 * FLOAT_BYTES * self.num_columns if is_measured else 0
        own = Work(
            scoring_flops=networks * flops * num_tokens,
            read_bytes=read,
            written_bytes=row_bytes * num_tokens,
        )
        return self._features(num_seq, written=False) + own
