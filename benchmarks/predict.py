"""What predicted and denoised χ are worth beside measured χ, on the shipped model.

Restricted χ (γ = 300, nβ = 0) by antithetic pairs of Gaussian draws; every token shard of 16
sequences has draws of its own. The truth is another set of draws on sequences that no network saw.

    r            correlation over tokens with the truth, median over components, of whole columns
                 and of what is specific to a component; divided by the ceiling that the truth's
                 own noise sets
    coverage     share of held-out tokens whose truth is within 1 and 1.96 deviations
    seconds      per 1000 tokens: a draw of all components, and the features

`python -m benchmarks.predict --shape shipped` (8 minutes on one core), `--toy` for seconds.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks import common
from benchmarks.shapes import NAMES, ids_of, model_of
from spectro.models.components import all_components, group_components
from spectro.models.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.predict.agreement import correlation, specific
from spectro.predict.config import PredictConfig
from spectro.predict.denoise import denoise
from spectro.predict.ensemble import Ensemble
from spectro.predict.features import token_features
from spectro.predict.judged import HeldOutScores, judge
from spectro.predict.measured import Measured
from spectro.predict.network import train_network

GAMMA = 300.0
SHARD_SEQUENCES, AT_ONCE = 16, 8
Array = npt.NDArray[np.float64]


class Measurement:
    """χ of all components along Gaussian draws."""

    def __init__(self, model: GPTNeoX, evaluation: Tensor) -> None:
        shape = model.shape
        groups = group_components(all_components(shape.num_layers, shape.num_heads))
        self._parts = [group_model(model, group) for group in groups]
        self._evaluation = evaluation

    def halves(self, ids: Tensor, num_draws: int, seed: int) -> Array:
        """χ from the first and the second half of the draws, [2, N, H]."""
        return np.concatenate([self._group(part, ids, num_draws, seed) for part in self._parts], 2)

    @torch.no_grad()
    def _group(self, part: Any, ids: Tensor, num_draws: int, seed: int) -> Array:
        draws = {name: _draws(part, name, num_draws, seed) for name in part.names}
        phi = {name: d.mean(1) for name, d in self._delta(part, self._evaluation, draws).items()}
        columns = [
            -(phi[name][:, None] * (delta - phi[name][:, None])).unflatten(0, (2, -1)).mean(1)
            for name, delta in self._delta(part, ids, draws).items()
        ]
        return torch.stack(columns, -1).double().numpy()

    def _delta(self, part: Any, ids: Tensor, draws: dict[str, Any]) -> dict[str, Tensor]:
        """Component → Δℓ [draws, N]."""
        found: dict[str, list[Tensor]] = {name: [] for name in part.names}
        for batch in ids.split(AT_ONCE):
            clean = part.prepare(batch)
            base = part.clean_losses(clean)
            for name, losses in part.losses(clean, draws).items():
                found[name].append((losses - base).flatten(1))
        return {name: torch.cat(parts, 1) for name, parts in found.items()}


def _draws(part: Any, name: str, num_draws: int, seed: int) -> dict[str, Tensor]:
    """Antithetic pairs around w*, one after the other."""
    stream = torch.Generator().manual_seed(seed * 1_000_003 + zlib.crc32(name.encode()) % 100_003)
    found = {}
    for block, weight in sorted(part.weights(name).items()):
        noise = torch.randn((num_draws // 2, *weight.shape), generator=stream) / math.sqrt(GAMMA)
        found[block] = weight + torch.stack([noise, -noise], 1).flatten(0, 1)
    return found


def r_with(truth_2NH: Array, chi_NH: Array) -> dict[str, float]:
    """r with the truth over its ceiling, median over components."""
    found = {}
    for name, part in (("whole", np.asarray), ("specific", specific)):
        half_H = correlation(part(truth_2NH[0]), part(truth_2NH[1]))
        ceiling_H = np.sqrt(np.clip(2 * half_H / (1 + half_H), 1e-6, 1))
        r_H = correlation(part(chi_NH), part(truth_2NH.mean(0)))
        found[name] = float(np.median(r_H / ceiling_H))
    return found


def coverage(truth_NH: Array, mean_NH: Array, deviation_NH: Array) -> list[float]:
    """Shares within 1 and 1.96 deviations."""
    z_NH = np.abs(truth_NH - mean_NH) / deviation_NH
    return [float((z_NH < limit).mean()) for limit in (1, 1.96)]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, train, predict and compare; returns the result."""
    parser = common.parser(__doc__, NAMES)
    parser.add_argument("--shards", type=int, nargs="+", default=[2, 4, 8], help="to train on")
    parser.add_argument("--draws", type=int, default=4, help="per token; a multiple of 4")
    parser.add_argument("--truth-draws", type=int, default=48)
    options = common.parse(parser, arguments)
    if options.toy:
        options.shards, options.truth_draws = [2], 8
    hf = model_of(options.shape, "cpu")
    model = GPTNeoX.from_pretrained_model(hf)
    probe = SHARD_SEQUENCES * (max(options.shards) + 1)
    context = 16 if options.toy else 128
    ids = ids_of(hf, options.shape, sampling=1, evaluation=8, probe=probe, context=context)
    shards = ids.probe.split(SHARD_SEQUENCES)
    measurement = Measurement(model, ids.evaluation)
    start = time.perf_counter()
    halves = [measurement.halves(x, options.draws, 1 + s) for s, x in enumerate(shards)]
    middle = time.perf_counter()
    features = [
        np.concatenate([token_features(model, x) for x in shard.split(AT_ONCE)]) for shard in shards
    ]
    end = time.perf_counter()
    thousands = probe * context / 1000
    result: dict[str, Any] = {
        "seconds_per_1000_tokens": {
            "a draw": (middle - start) / thousands / options.draws,
            "features": (end - middle) / thousands,
        }
    }
    truth = measurement.halves(shards[0], options.truth_draws, 10_000)
    result["measured"] = {"held out": r_with(truth, halves[0].mean(0))}
    for count in options.shards:
        result[f"{count * SHARD_SEQUENCES * context} tokens"] = one(
            truth, halves[: count + 1], features[: count + 1]
        )
    common.write("predict", options, result)
    return result


def one(truth: Array, halves: list[Array], features: list[Any]) -> dict[str, Any]:
    """Train on all shards but the first; predict the first. Denoise it with networks of others."""
    mean = truth.mean(0)
    ensemble, judged = learnt(halves[1:], features[1:])
    found = ensemble.predict(features[0], judged.curves)
    ensemble, judged = learnt(halves, features)
    denoised = denoise(ensemble.held_out(features[0], 0), halves[0], judged)
    return {
        "predicted": r_with(truth, found.chi_NH),
        "denoised": r_with(truth, denoised.chi_NH),
        "coverage predicted": coverage(mean, found.chi_NH, found.deviation_NH),
        "coverage denoised": coverage(mean, denoised.chi_NH, denoised.deviation_NH),
    }


def learnt(halves: list[Array], features: list[Any]) -> tuple[Ensemble, HeldOutScores]:
    """All networks of some shards, each with draws of its own, and their errors."""
    size, config = len(features[0]), PredictConfig(num_folds=2)
    shard_N = np.repeat(np.arange(len(features)), size)
    measured = Measured(halves_2NH=np.concatenate(halves, 1), shard_N=shard_N, own_draws=True)
    features_NF = np.concatenate(features)
    ensemble = Ensemble(
        [
            [train_network(features_NF, measured, config, fold, half) for half in (0, 1)]
            for fold in range(config.num_folds)
        ]
    )
    rows_of = {s: slice(s * size, (s + 1) * size) for s in range(len(features))}
    return ensemble, judge(ensemble, features_NF, measured, rows_of)


if __name__ == "__main__":
    for key, value in main().items():
        print(key, value)
