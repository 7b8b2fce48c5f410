"""What is held out, and the trap: noise that is a function of the features."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from spectro.predict.agreement import agreement, correlation, specific
from spectro.predict.config import PredictConfig
from spectro.predict.denoise import denoise
from spectro.predict.measured import Measured, held_out
from spectro.predict.predictor import cross_fitted, train
from tests.predict.conftest import NUM_COLUMNS, NUM_FEATURES, Planted


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
    return Measured.of_run(planted.truth_NH + planted.features_NF @ noise_2FH, planted.shard_N)


def test_the_trap(planted: Planted, trapped: Measured, config: PredictConfig) -> None:
    """Along its training draws a network seems to predict everything, the noise included.

    The protocol judges it along the other half, where it agrees as the halves do; and refuses it
    where the draws that would judge it are those that it was trained on.
    """
    networks = train(planted.features_NF, trapped, config).networks
    found = cross_fitted(networks, planted.features_NF, trapped)
    halves_r = correlation(*trapped.halves_2NH)
    np.testing.assert_allclose(
        correlation(found.predicted_NH, found.measured_NH), halves_r, atol=0.08
    )
    rows = held_out(trapped, 4, 0).judge_N
    along_own = networks[0].predict(planted.features_NF[rows])
    trained_half = trapped.halves_2NH[held_out(trapped, 4, 0).train_halves[0]][rows]
    assert correlation(along_own, trained_half).min() > 0.95
    assert halves_r.max() < 0.6

    swapped = dataclasses.replace(trapped, draws_2N=trapped.draws_2N[::-1].copy())
    with pytest.raises(ValueError, match="network 0 was trained along the draws that would judge"):
        cross_fitted(networks, planted.features_NF, swapped)


def test_shards_and_draws_are_held_out(planted: Planted) -> None:
    own = Measured.of_shards(planted.noisy_halves(1.0), planted.shard_N)
    shared = Measured.of_run(planted.noisy_halves(1.0), planted.shard_N)
    judged = np.zeros(len(planted.shard_N), int)
    for measured, halves in ((own, {0: (0, 1), 1: (0, 1)}), (shared, {0: (0,), 1: (1,)})):
        for fold in range(4):
            part = held_out(measured, 4, fold)
            judged += part.judge_N
            shards = set(planted.shard_N[part.judge_N])
            assert shards == {fold, fold + 4, fold + 8, fold + 12}
            assert not shards & set(planted.shard_N[part.train_N])
            assert part.judge_halves == halves[fold % 2]
    assert (judged == 2).all()  # once in either


def test_draws_that_cannot_be_held_out_are_refused(planted: Planted) -> None:
    halves = planted.noisy_halves(1.0)
    one_set = Measured(
        halves_2NH=halves, shard_N=planted.shard_N, draws_2N=np.zeros((2, len(halves[0])), int)
    )
    with pytest.raises(ValueError, match=r"no draws can be held out.*per_shard"):
        held_out(one_set, 2, 0)
    one_shard = Measured.of_shards(halves, np.zeros(len(halves[0]), int))
    with pytest.raises(ValueError, match="at least 2 shards are needed, found 1"):
        held_out(one_shard, 2, 0)
    with pytest.raises(ValueError, match="with one chain there are no halves"):
        Measured.of_shards(np.full_like(halves, np.nan), planted.shard_N)
    with pytest.raises(ValueError, match=r"must be \[2, 4095, ...\] for 4095 tokens"):
        Measured.of_shards(halves, planted.shard_N[1:])


def test_denoising_shared_draws_is_refused(
    planted: Planted, trapped: Measured, config: PredictConfig
) -> None:
    networks = train(planted.features_NF, trapped, config).networks
    with pytest.raises(ValueError, match="draws of their own for every token shard"):
        denoise(networks, planted.features_NF, trapped)


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
