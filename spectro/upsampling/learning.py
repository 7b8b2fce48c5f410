"""Training of an upsampled run's networks: features, networks, held-out errors (ADR 071).

Shapes: N measured tokens, F features, H components.
"""

from __future__ import annotations

import dataclasses
import time
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from spectro.cluster_stage.units import HALVES
from spectro.clustering.vectors.mapped_array import mapped_array
from spectro.config import PipelineConfig
from spectro.formats import product, tokens
from spectro.formats.clusters.knn_lists import key_of
from spectro.formats.halves import iterate_halves
from spectro.formats.predictors import (
    HELD_OUT,
    features_name,
    predictor_name,
)
from spectro.measure.resident_model import ResidentModel
from spectro.predict.config import UpsampleConfig
from spectro.predict.ensemble import Ensemble
from spectro.predict.features import token_features
from spectro.predict.held_out import HeldOutScores, score_held_out
from spectro.predict.measured import Measured
from spectro.predict.network import Network, num_epochs, train_network
from spectro.sampling.config import TokenDraws
from spectro.storage.checksummed_arrays import put_arrays, read_arrays
from spectro.storage.checksummed_json import read_sealed, seal, with_nan
from spectro.storage.node_cache import NodeCache
from spectro.storage.store import Store
from spectro.upsampling.units import FeaturesUnit, HeldOutUnit, TrainingUnit
from spectro.work.stage import OnProgress, ShouldStop

MAX_JUDGED = 2**18
"""Tokens, about, on which networks are judged: more add nothing to correlations per column."""
TOKENS_AT_ONCE = 2048
"""Tokens, about, of one clean pass with its backward passes."""
SECONDS = "seconds"
"""Array of one number: the time that an object took to make."""
LEARNT = "learnt"
"""Array of one number: the tokens that a network learnt from, once for every pass over them."""
Floats = npt.NDArray[np.float32]


def make_features(
    unit: FeaturesUnit, resident: ResidentModel, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Put the features of one measured token shard."""
    start = time.monotonic()
    found = features_of(resident, unit.shard, on_progress)
    arrays = {"features": found, SECONDS: np.array([time.monotonic() - start])}
    put_arrays(resident.root, features_name(unit.shard), arrays)


def features_of(resident: ResidentModel, shard: int, on_progress: OnProgress) -> Floats:
    """Features of a token shard, [n·T, F]; raises ValueError if one is not finite."""
    ids = resident.probe_ids(shard)
    parts = []
    at_once = sequences_at_once(ids.shape[1] - 1)
    for start in range(0, len(ids), at_once):
        parts.append(token_features(resident.model, ids[start : start + at_once]))
        on_progress(start + at_once, len(ids))
    features_NF = np.concatenate(parts)
    if not np.isfinite(features_NF).all():
        raise ValueError(
            f"features of token shard {shard} are not finite: are weights of the model damaged?"
        )
    return features_NF


def sequences_at_once(context: int) -> int:
    """Sequences of one clean pass."""
    return max(1, TOKENS_AT_ONCE // context)


class MeasuredTokens:
    """What networks learn from, on this machine; a context, which holds its scratch.

    Args:
        store: of the upsampled run.
        config: of that run.
    """

    def __init__(self, store: Store, config: PipelineConfig) -> None:
        assert config.upsample is not None
        self._store, self._config = store, config
        self._upsample: UpsampleConfig = config.upsample
        inputs = {"uri": store.uri, "inputs": config.inputs()}
        self._scratch = NodeCache(config.run.scratch, f"features-{key_of(inputs)}")

    def __enter__(self) -> MeasuredTokens:
        return self

    def __exit__(self, *raised: object) -> None:
        self._scratch.close()

    @cached_property
    def shard_N(self) -> npt.NDArray[np.int64]:
        """Token shard of every token."""
        info = tokens.read_info(self._store)
        sizes = info.splits["probe"].shard_sizes[: self._upsample.num_shards]
        return np.repeat(np.arange(len(sizes)), np.array(sizes) * info.context)

    def judged_rows(self) -> dict[int, slice]:
        """Rows of the token shards on which networks are judged: some of every fold, in turn."""
        starts = np.searchsorted(self.shard_N, np.arange(self._upsample.num_shards + 1))
        step = max(1, -(-len(self.shard_N) // MAX_JUDGED))
        num_folds = self._upsample.num_folds
        chosen = [s for s in range(self._upsample.num_shards) if s // num_folds % step == 0]
        return {s: slice(int(starts[s]), int(starts[s + 1])) for s in chosen}

    @cached_property
    def components(self) -> list[str]:
        """Names of the columns of χ."""
        return list(product.read_head(Store(self._upsample.source), 0).components)

    def remove(self) -> None:
        """Remove what was kept on this machine: nobody needs it any more."""
        self._scratch.remove()

    @property
    def _folder(self) -> Path:
        return self._scratch.made("measured", self._make)

    @cached_property
    def features(self) -> Floats:
        """Features [N, F], memory-mapped."""
        array: Floats = np.load(self._folder / "features.npy", mmap_mode="r")
        return array

    @property
    def seconds(self) -> float:
        """Time that the features took to make."""
        return float(np.load(self._folder / f"{SECONDS}.npy"))

    @cached_property
    def measured(self) -> Measured:
        """χ of the measured run from either half of its chains, memory-mapped."""
        halves_2NH = np.load(self._folder / "halves.npy", mmap_mode="r")
        own = own_draws(self._config)
        return Measured(halves_2NH=halves_2NH, shard_N=self.shard_N, own_draws=own)

    def _make(self, folder: Path) -> None:
        num_tokens, first, seconds = len(self.shard_N), 0, 0.0
        shards = iterate_halves(Store(self._upsample.source), self._upsample.num_shards)
        for shard, chi in enumerate(shards):
            arrays = read_arrays(self._store, features_name(shard))
            found, seconds = arrays["features"], seconds + float(arrays[SECONDS][0])
            if shard == 0:
                shape = (num_tokens, found.shape[1])
                features = mapped_array(folder / "features.npy", np.float32, shape)
                shape_2NH = (2, num_tokens, chi.chi_first_NH.shape[1])
                halves = mapped_array(folder / "halves.npy", np.float32, shape_2NH)
            rows = slice(first, first + len(found))
            features[rows] = found
            halves[:, rows] = chi.chi_first_NH, chi.chi_second_NH
            first = rows.stop
        assert first == num_tokens
        features.flush()
        halves.flush()
        np.save(folder / f"{SECONDS}.npy", seconds)


def train(
    unit: TrainingUnit, resident: ResidentModel, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Train one network, on the model's device, and put it."""
    start, upsample = time.monotonic(), _upsample_of(resident.config)
    config = dataclasses.replace(upsample.predict, num_folds=unit.num_folds)
    with MeasuredTokens(resident.root, resident.config) as there:
        features, measured = there.features, there.measured
        network = train_network(
            features, measured, config, unit.fold, unit.half, resident.model.device
        )
        num_tokens = len(measured.training_rows(unit.num_folds, unit.fold))
    arrays = {name: tensor.numpy() for name, tensor in network.to_tensors().items()}
    arrays[SECONDS] = np.array([time.monotonic() - start])
    arrays[LEARNT] = np.array([num_tokens * num_epochs(num_tokens, config)])
    put_arrays(resident.root, predictor_name(unit.fold, unit.half), arrays)


def read_ensemble(store: Store, num_folds: int, device: torch.device | str) -> Ensemble:
    """All networks of a run on a device; raises FileNotFoundError, DamagedObjectError."""

    def network(fold: int, half: int) -> Network:
        arrays = read_arrays(store, predictor_name(fold, half))
        tensors = {n: torch.from_numpy(a) for n, a in arrays.items() if n not in (SECONDS, LEARNT)}
        return Network.from_tensors(tensors, device)

    return Ensemble([[network(fold, half) for half in HALVES] for fold in range(num_folds)])


def judge(
    unit: HeldOutUnit, resident: ResidentModel, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Put what the networks' predictions of shards that they have not seen say of their errors."""
    store = resident.root
    ensemble = read_ensemble(store, unit.num_folds, resident.model.device)
    with MeasuredTokens(store, resident.config) as there:
        judged = score_held_out(
            ensemble, there.features, there.measured, there.judged_rows(), on_progress
        )
        seconds = {"features": there.seconds, "training": _recorded(store, unit, SECONDS)}
        components, num_tokens = there.components, len(there.shard_N)
    found = {
        "components": components,
        "seconds": seconds,
        "work": {
            "feature_tokens": num_tokens,
            "learnt_tokens": round(_recorded(store, unit, LEARNT)),
        },
        **judged.as_dict(),
    }
    store.put_if_absent(HELD_OUT, seal(found))
    there.remove()


def _recorded(store: Store, unit: HeldOutUnit, name: str) -> float:
    """Sum over all networks of what their training recorded."""
    return sum(
        float(read_arrays(store, predictor_name(fold, half))[name][0])
        for fold in range(unit.num_folds)
        for half in HALVES
    )


def read_judged(store: Store) -> HeldOutScores:
    """The errors of all networks; raises FileNotFoundError, DamagedObjectError."""
    return HeldOutScores.from_dict(with_nan(read_sealed(store, HELD_OUT)))


def own_draws(config: PipelineConfig) -> bool:
    """Whether every token shard of the measured run has separate draws."""
    return config.chain.draws is TokenDraws.PER_SHARD


def _upsample_of(config: PipelineConfig) -> UpsampleConfig:
    assert config.upsample is not None
    return config.upsample
