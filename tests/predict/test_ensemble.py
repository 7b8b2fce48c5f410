"""Training, prediction and denoising against planted truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from spectro.predict import network
from spectro.predict.agreement import correlation
from spectro.predict.config import PredictConfig
from spectro.predict.denoise import denoise
from spectro.predict.errors import ErrorCurves
from spectro.predict.held_out import HeldOutScores
from spectro.predict.measured import Measured
from spectro.predict.network import Network, num_epochs, train_network
from tests.predict.conftest import Learnt, Planted, learn


@pytest.fixture
def measured(planted: Planted) -> Measured:
    """Noise as large as the signal: reliability 0.5."""
    return of_own_draws(planted, planted.noisy_halves(1.0))


@pytest.fixture
def learnt(planted: Planted, measured: Measured, config: PredictConfig) -> Learnt:
    return learn(planted.features_NF, measured, config)


def of_own_draws(planted: Planted, halves_2NH: np.ndarray) -> Measured:
    return Measured(halves_2NH=halves_2NH, shard_N=planted.shard_N, own_draws=True)


def test_noise_averages_over_tokens(planted: Planted, learnt: Learnt) -> None:
    fresh = planted.rng.normal(size=planted.features_NF.shape).astype(np.float32)
    mixing = np.linalg.lstsq(planted.features_NF, planted.truth_NH, rcond=None)[0]
    found = learnt.ensemble.predict(fresh, learnt.judged.curves)
    # a measured token has r = 0.71; 3072 tokens for some 400 weights leave 0.13 of the noise
    assert correlation(found.chi_NH, fresh @ mixing).min() > 0.93
    np.testing.assert_allclose(found.chi_NH, found.halves_2NH.mean(0))
    inside = np.abs(found.chi_NH - fresh @ mixing) < 1.96 * found.deviation_NH
    assert inside.mean() > 0.90  # of a fold's two networks; the mean of eight errs less


def test_estimated_r_with_the_truth_is_r_with_the_truth(planted: Planted, learnt: Learnt) -> None:
    np.testing.assert_allclose(learnt.judged.ceiling, np.sqrt(0.5), atol=0.03)
    # standard error of r is (1 − r²) / √4096 ≈ 0.01, divided by the ceiling
    expected = correlation(learnt.held_out_2NH.mean(0), planted.truth_NH)
    np.testing.assert_allclose(learnt.judged.r / learnt.judged.ceiling, expected, atol=0.06)


def test_deviations_cover_held_out_truth(
    planted: Planted, measured: Measured, learnt: Learnt
) -> None:
    predicted_NH = learnt.held_out_2NH.mean(0)
    variance_H = learnt.judged.curves.error_variance(predicted_NH).mean(0)
    # the variance of (m − χ)² is 2 (e + ν)²: over 4096 tokens 1.6 / 64 = 0.025 of e ≈ 0.1
    error_H = ((predicted_NH - planted.truth_NH) ** 2).mean(0)
    np.testing.assert_allclose(variance_H, error_H, atol=0.075)
    denoised = denoise(learnt.held_out_2NH, measured.halves_2NH, learnt.judged)
    inside = np.abs(denoised.chi_NH - planted.truth_NH) < 1.96 * denoised.deviation_NH
    assert 0.90 < inside.mean() < 0.98
    # 4096 tokens: ± 0.003 each, and curves of four bins of 500 tokens know variances to 6 %
    np.testing.assert_allclose(learnt.judged.coverage, 0.95, atol=0.02)


def test_coverage_is_that_of_shards_that_its_curves_have_not_seen() -> None:
    """Errors of one half of the shards are ten times those of the other."""
    rng = np.random.default_rng(2)
    is_other_N = np.arange(4000) % 2 == 1
    scale_N1 = np.where(is_other_N, 10.0, 1.0)[:, None]
    measured = rng.normal(size=(2, 4000, 1)) * scale_N1
    found = HeldOutScores.of(np.zeros_like(measured), measured, is_other_N, own_draws=True)
    # curves of the small errors cover P(|10 z| < 1.96) = 0.16, of the large ones all; curves
    # of both together would cover 0.92
    assert found.coverage[0] == pytest.approx((0.155 + 1) / 2, abs=0.02)
    variance = found.curves.noise_KH.mean()
    assert variance == pytest.approx((100 + 1) / 4, rel=0.1)  # final curves are of all


def test_denoising_has_the_error_of_its_formula(
    planted: Planted, measured: Measured, learnt: Learnt
) -> None:
    denoised = denoise(learnt.held_out_2NH, measured.halves_2NH, learnt.judged)
    noise = ((measured.halves_2NH.mean(0) - planted.truth_NH) ** 2).mean()
    error = ((learnt.held_out_2NH.mean(0) - planted.truth_NH) ** 2).mean()
    least = error * noise / (error + noise)
    np.testing.assert_allclose(((denoised.chi_NH - planted.truth_NH) ** 2).mean(), least, rtol=0.1)
    assert (denoised.deviation_NH**2).mean() == pytest.approx(least, rel=0.35)


def test_useless_features_leave_the_measurement_shrunk(
    planted: Planted, config: PredictConfig
) -> None:
    measured = of_own_draws(planted, planted.noisy_halves(0.3))
    useless = planted.rng.normal(size=planted.features_NF.shape).astype(np.float32)
    learnt = learn(useless, measured, config)
    denoised = denoise(learnt.held_out_2NH, measured.halves_2NH, learnt.judged)
    # weights e / (e + ν) with e ≥ 1 and ν = 0.09
    assert correlation(denoised.chi_NH, measured.halves_2NH.mean(0)).min() > 0.97


def test_a_network_is_the_same_from_its_tensors(
    planted: Planted, measured: Measured, config: PredictConfig
) -> None:
    trained = train_network(planted.features_NF, measured, config, 1, 0)
    again = Network.from_tensors(load(save(trained.to_tensors())))
    expected, found = (n.predict(planted.features_NF[:50]) for n in (trained, again))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(again.trained_draws, trained.trained_draws)


def test_training_has_random_numbers_of_its_own(
    planted: Planted, measured: Measured, config: PredictConfig
) -> None:
    first = train_network(planted.features_NF, measured, config, 2, 1)
    torch.manual_seed(5)  # the process's own random state is none of its business
    state = torch.random.get_rng_state()
    second = train_network(planted.features_NF, measured, config, 2, 1)
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, tensor in second.to_tensors().items():
        assert torch.equal(tensor, first.to_tensors()[name]), name


def test_mapped_features_are_read_batch_by_batch(
    planted: Planted, measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never more than the sample for scalings, and the scalings are those of the sample."""
    np.save(tmp_path / "features.npy", planted.features_NF)
    copied = []

    class Watched(np.memmap):
        def __getitem__(self, key: object) -> np.ndarray:
            found = np.asarray(super().__getitem__(key))
            if not np.shares_memory(found, self):
                copied.append(len(found))
            return found

    mapped = np.load(tmp_path / "features.npy", mmap_mode="r").view(Watched)
    monkeypatch.setattr(network, "MAX_SCALED", 1000)
    monkeypatch.setattr(network, "AT_ONCE", 700)
    config = PredictConfig(num_folds=4, hidden=8, epochs=1)
    trained = train_network(mapped, measured, config, 0, 0)
    assert max(copied) <= 1000 and sum(copied) > 250 * 500
    rows = np.flatnonzero(planted.shard_N % 4 != 0)[::4]  # 3072 rows: every fourth
    median = torch.from_numpy(planted.features_NF[rows]).median(0).values
    assert torch.equal(trained.to_tensors()["inputs.median_F"], median)


def test_networks_learn_and_predict_on_a_device(planted: Planted, measured: Measured) -> None:
    """`meta` has no values: whatever was not computed there could be read."""
    fast = PredictConfig(num_folds=2, hidden=4, epochs=1)
    trained = train_network(planted.features_NF, measured, fast, 0, 0)
    there = [
        train_network(planted.features_NF, measured, fast, 0, 0, "meta"),
        Network.from_tensors(trained.to_tensors(), "meta"),
    ]
    for network_there in there:
        with pytest.raises(NotImplementedError, match="meta"):
            network_there.predict(planted.features_NF[:5])


def test_passes_over_the_tokens() -> None:
    config = PredictConfig(epochs=3)
    assert num_epochs(512 * 100, config) == 3
    assert num_epochs(512 * 10 - 1, config) == 25  # 250 steps of 10 a pass
    assert num_epochs(5, config) == 250


def test_prediction_does_not_depend_on_the_batch(planted: Planted, learnt: Learnt) -> None:
    whole = learnt.ensemble.predict(planted.features_NF, learnt.judged.curves)
    part = learnt.ensemble.predict(planted.features_NF[100:103], learnt.judged.curves)
    # products of other shapes sum in another order
    np.testing.assert_allclose(part.chi_NH, whole.chi_NH[100:103], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(part.deviation_NH, whole.deviation_NH[100:103], rtol=1e-4)


def test_constant_columns_and_features(planted: Planted, config: PredictConfig) -> None:
    halves = planted.noisy_halves(0.5)
    halves[..., 1] = 3.0
    features = planted.features_NF.copy()
    features[:, 0] = 7.0
    learnt = learn(features, of_own_draws(planted, halves), config)
    found = learnt.ensemble.predict(features, learnt.judged.curves)
    assert np.isfinite(found.chi_NH).all() and np.isfinite(found.deviation_NH).all()
    np.testing.assert_allclose(found.chi_NH[:, 1], 3.0, atol=0.3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(
    planted: Planted, measured: Measured, config: PredictConfig, value: float
) -> None:
    features = planted.features_NF.copy()
    features[3, 2] = value
    with pytest.raises(ValueError, match="features must be finite: 1 of 4096 tokens"):
        train_network(features, measured, config, 0, 0)


def test_other_features_are_refused(
    planted: Planted, measured: Measured, config: PredictConfig
) -> None:
    network = train_network(planted.features_NF, measured, config, 0, 0)
    with pytest.raises(ValueError, match=r"expected 10 features per token.*another model"):
        network.predict(planted.features_NF[:, :9])
    with pytest.raises(ValueError, match="features of 4095 tokens, chi of 4096"):
        train_network(planted.features_NF[1:], measured, config, 0, 0)
    assert isinstance(network, Network)


def test_error_curves_follow_the_size_of_the_response() -> None:
    """Errors and noise proportional to the prediction, as those of quadratic responses."""
    rng = np.random.default_rng(1)
    predicted = rng.uniform(1, 10, size=(40_000, 1))
    truth = predicted * (1 + 0.2 * rng.normal(size=predicted.shape))
    halves = truth + predicted * 0.3 * np.sqrt(2) * rng.normal(size=(2, *predicted.shape))
    noise = (halves[0] - halves[1]) ** 2 / 4
    curves = ErrorCurves.fit(predicted, halves.mean(0), noise, noise)
    at = np.array([[2.0], [8.0]])
    # 1250 tokens a bin: squares are known to 4 %, e is a third of what it is the difference of
    np.testing.assert_allclose(curves.noise_variance(at)[:, 0], [0.36, 5.76], rtol=0.15)
    np.testing.assert_allclose(curves.error_variance(at)[:, 0], [0.16, 2.56], rtol=0.45)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_folds": 1}, "num_folds must be at least 2"),
        ({"hidden": 0}, "hidden must be at least 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PredictConfig(**wrong)  # type: ignore[arg-type]
