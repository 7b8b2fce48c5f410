"""What is held out, and the trap: noise that is a function of the features."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from spectro.predict.agreement import agreement, correlation, specific
from spectro.predict.config import PredictConfig
from spectro.predict.denoise import denoise
from spectro.predict.ensemble import Ensemble
from spectro.predict.held_out import require_unseen, score_held_out
from spectro.predict.measured import Measured
from spectro.predict.network import train_network
from tests.predict.conftest import NUM_COLUMNS, NUM_FEATURES, PER_SHARD, Planted, learn


@pytest.fixture
def trapped(planted: Planted) -> Measured:
    """Draws that all shards share; the noise of either half is linear in the features, of the
    truth's variance, and uncorrelated with the truth and the other half: halves agree at 0.5."""
    mixing_FH = np.linalg.lstsq(planted.features_NF, planted.truth_NH, rcond=None)[0]
    noise_2FH = np.empty((2, NUM_FEATURES, NUM_COLUMNS))
    for column in range(NUM_COLUMNS):
        others = planted.rng.normal(size=(NUM_FEATURES, 2))
        basis = np.linalg.qr(np.column_stack([mixing_FH[:, column], others]))[0]
        noise_2FH[:, :, column] = basis[:, 1:].T
    halves_2NH = planted.truth_NH + planted.features_NF @ noise_2FH
    return Measured(halves_2NH=halves_2NH, shard_N=planted.shard_N, own_draws=False)


def test_the_trap(planted: Planted, trapped: Measured, config: PredictConfig) -> None:
    """Along its training draws a network seems to predict everything, the noise included.

    Judged along the other half it agrees as the halves do; denoising leaves χ as it was measured.
    """
    learnt = learn(planted.features_NF, trapped, config)
    halves_r = correlation(*trapped.halves_2NH)
    assert halves_r.max() < 0.6
    np.testing.assert_allclose(learnt.judged.r, halves_r, atol=0.08)
    for half in (0, 1):
        along_own = correlation(learnt.held_out_2NH[half], trapped.halves_2NH[half])
        assert along_own.min() > 0.95
    denoised = denoise(learnt.held_out_2NH, trapped.halves_2NH, learnt.judged)
    np.testing.assert_array_equal(denoised.chi_NH, trapped.halves_2NH.mean(0))
    np.testing.assert_array_equal(denoised.halves_2NH, trapped.halves_2NH)


@pytest.mark.parametrize("own_draws", [False, True])
def test_networks_are_not_judged_along_draws_that_they_learnt_from(
    planted: Planted, own_draws: bool
) -> None:
    measured = Measured(
        halves_2NH=planted.noisy_halves(1.0), shard_N=planted.shard_N, own_draws=own_draws
    )
    fast = PredictConfig(num_folds=2, hidden=4, epochs=1)
    networks = [
        [train_network(planted.features_NF, measured, fast, fold, half) for half in (0, 1)]
        for fold in (0, 1)
    ]
    require_unseen(Ensemble(networks), measured)
    # halves or, where each shard has draws of its own, folds in each other's place
    mixed = networks[::-1] if own_draws else [networks[0], networks[1][::-1]]
    found = r"network \d of fold \d was trained along the draws that would judge it"
    with pytest.raises(ValueError, match=found):
        score_held_out(Ensemble(mixed), planted.features_NF, measured, {0: slice(0, PER_SHARD)})


def test_shards_and_draws_are_held_out(planted: Planted) -> None:
    own = Measured(halves_2NH=planted.noisy_halves(1.0), shard_N=planted.shard_N, own_draws=True)
    shared = dataclasses.replace(own, own_draws=False)
    for fold in range(4):
        rows = own.training_rows(4, fold)
        assert set(planted.shard_N[rows]) == set(range(16)) - {fold, fold + 4, fold + 8, fold + 12}
        assert len(rows) == 12 * PER_SHARD
    first = planted.shard_N < 2
    assert [own.draw_sets(half, first).tolist() for half in (0, 1)] == [[0, 2], [1, 3]]
    assert [shared.draw_sets(half, first).tolist() for half in (0, 1)] == [[0], [1]]


def test_what_cannot_be_held_out_is_refused(planted: Planted, config: PredictConfig) -> None:
    halves = planted.noisy_halves(1.0)
    one_shard = Measured(halves_2NH=halves, shard_N=0 * planted.shard_N, own_draws=True)
    with pytest.raises(ValueError, match="at least 2 shards are needed, found 1"):
        one_shard.training_rows(2, 0)
    with pytest.raises(ValueError, match="at least 2 shards are needed, found 1"):
        one_shard.training_rows(2, 1)
    halves[1, 7] = np.nan
    one_chain = Measured(halves_2NH=halves, shard_N=planted.shard_N, own_draws=True)
    with pytest.raises(ValueError, match=r"chi of 1 of 4096 tokens.*with one chain"):
        train_network(planted.features_NF, one_chain, config, 0, 1)
    with pytest.raises(ValueError, match=r"must be \[2, 4095, ...\] for 4095 tokens"):
        Measured(halves_2NH=halves, shard_N=planted.shard_N[1:], own_draws=True)


def test_agreement_with_known_reliability(planted: Planted) -> None:
    halves = planted.noisy_halves(0.5)  # reliability of the mean 1 / 1.25
    found = agreement(planted.truth_NH, halves.mean(0), halves)
    np.testing.assert_allclose(found.ceiling_H, np.sqrt(0.8), atol=0.02)
    np.testing.assert_allclose(found.r_truth_H, 1.0, atol=0.02)
    of_half = agreement(planted.truth_NH, halves[0], halves, of_halves=1)
    np.testing.assert_allclose(of_half.ceiling_H, np.sqrt(1 / 1.5), atol=0.02)
    noise = planted.rng.normal(size=halves.shape)
    assert agreement(planted.truth_NH, noise[0], noise).ceiling_H.max() < 0.3


def test_what_is_specific_has_no_part_in_common(planted: Planted) -> None:
    common = 100 * planted.rng.normal(size=(len(planted.shard_N), 1))
    scale = np.std(planted.truth_NH + common, axis=0)
    found = specific((planted.truth_NH / scale + common) * np.arange(1, NUM_COLUMNS + 1))
    assert np.abs(correlation(found, np.broadcast_to(common, found.shape))).max() < 0.5
    np.testing.assert_allclose(found.std(0), 1.0)
    assert (specific(np.full((4, 2), 3.0)) == 0).all()
