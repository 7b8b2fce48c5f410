"""Predicted responses against those of the reweighted posterior itself, on the shipped model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import spectro
from spectro.analysis.data_weights import Float64
from spectro.models.components import Group
from spectro.models.config import ModelConfig
from spectro.models.engine import engine_of
from spectro.models.groups import group_model
from spectro.models.load import load_model, load_tokenizer

COMPONENT, GAMMA, NBETA = "l1h1", 300.0, 30.0
S, T, NUM_DRAWS = 6, 24, 1024
TEXT = (
    "import os\n\n\ndef area(w, h):\n    return w * h  # of the box\n\nThe licence says: you may.\n"
)


@pytest.fixture(scope="module")
def ids() -> torch.Tensor:
    tokenizer = load_tokenizer(ModelConfig(name_or_path="embedded"))
    found = tokenizer(TEXT * 8, return_tensors="pt")["input_ids"][0]
    return found[: S * (T + 1)].reshape(S, T + 1)


@pytest.fixture(scope="module")
def delta_RS(ids: torch.Tensor) -> Float64:
    """Change of every sequence's mean loss in draws of N(w*, 1/γ) of one component."""
    engine = engine_of(load_model(ModelConfig(name_or_path="embedded")))
    component = next(c for c in engine.shape.components if c.name == COMPONENT)
    group = group_model(engine, Group(name="l1", components=(component,)))
    noise = torch.Generator().manual_seed(0)
    found = []
    with torch.no_grad():
        clean = engine.clean_losses(ids).mean(-1)
        prepared = group.prepare(ids)
        for _ in range(NUM_DRAWS // 32):
            weights = {
                block: own + torch.randn((16, *own.shape), generator=noise) / math.sqrt(GAMMA)
                for block, own in group.weights(COMPONENT).items()
            }
            mirrored = {
                block: torch.cat([own, 2 * group.weights(COMPONENT)[block] - own])
                for block, own in weights.items()
            }
            losses = group.losses(prepared, {COMPONENT: mirrored}, paired=False)[COMPONENT]
            found.append((losses.mean(-1) - clean).double())
    return torch.cat(found).numpy()


def posterior_mean(delta_RS: Float64, weight_S: Float64, nbeta: float) -> float:
    """E[φ] under exp(−nβ Σ w_s Δℓ_s) N(w*, 1/γ), φ = ΔL of the plain mixture."""
    log_R = -nbeta * delta_RS @ weight_S
    importance_R = np.exp(log_R - log_R.max())
    return float(importance_R @ delta_RS.mean(axis=1) / importance_R.sum())


def shift(delta_RS: Float64, change_S: Float64, nbeta: float = NBETA) -> float:
    even_S = np.full(S, 1 / S)
    changed = posterior_mean(delta_RS, even_S + change_S, nbeta)
    return changed - posterior_mean(delta_RS, even_S, nbeta)


def test_the_measured_susceptibility_predicts_the_shift_of_small_reweightings(
    ids: torch.Tensor, delta_RS: Float64
) -> None:
    """χ of the engine's own draws against other draws under the reweighted loss."""
    result = spectro.susceptibilities(
        load_model(ModelConfig(name_or_path="embedded")), ids, ids, components=[COMPONENT],
        num_chains=4, num_draws=256, sampler=spectro.Reweighted(gamma=GAMMA, nbeta=NBETA),
        estimator=spectro.EstimatorConfig(kind=spectro.EstimatorKind.ONE_CHAIN),
    )  # fmt: skip
    chi_S = result.chi[:, :, 0].mean(axis=1).astype(np.float64)
    small = 0.02
    predicted_S, found_S = np.empty(S), np.empty(S)
    for chosen in range(S):
        change_S = small * ((np.arange(S) == chosen) - 1 / S)
        predicted_S[chosen] = NBETA * change_S @ chi_S
        found_S[chosen] = shift(delta_RS, change_S)
    # Both have the noise of a thousand draws. Large draws move all shifts together: between halves
    # of `delta_RS` r is 0.97, and the sizes differ by a factor of 1.5.
    assert np.corrcoef(predicted_S, found_S)[0, 1] > 0.8
    assert 0.5 < predicted_S @ found_S / (found_S @ found_S) < 2


def departure(delta_RS: Float64, size: float, nbeta: float) -> float:
    """Median over sequences of |shift / (first-order shift) − 1| for `size` more of one."""
    ratios = []
    for chosen in range(S):
        direction_S = (np.arange(S) == chosen) - 1 / S
        slope = shift(delta_RS, 1e-4 * direction_S, nbeta) / 1e-4
        ratios.append(abs(shift(delta_RS, size * direction_S, nbeta) / (size * slope) - 1))
    return float(np.median(ratios))


def test_the_linear_regime(delta_RS: Float64) -> None:
    """Of one head: at nβ = 10 a mixture may become one sequence, at nβ = 100 it may not."""
    assert departure(delta_RS, 1.0, nbeta=10.0) < 0.05
    assert departure(delta_RS, 0.02, nbeta=100.0) < 0.05
    assert departure(delta_RS, 0.2, nbeta=100.0) < departure(delta_RS, 1.0, nbeta=100.0)
    assert departure(delta_RS, 1.0, nbeta=100.0) > 0.25
