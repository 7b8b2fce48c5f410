"""Training, prediction and denoising against planted truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from spectro.predict.agreement import agreement, correlation
from spectro.predict.config import PredictConfig
from spectro.predict.denoise import denoise
from spectro.predict.errors import ErrorCurves
from spectro.predict.measured import Measured
from spectro.predict.network import Network, train_network
from spectro.predict.predictor import Predictor, cross_fitted, train
from tests.predict.conftest import Planted


@pytest.fixture
def measured(planted: Planted) -> Measured:
    """Noise as large as the signal: reliability 0.5."""
    return Measured.of_shards(planted.noisy_halves(1.0), planted.shard_N)


def test_noise_averages_over_tokens(
    planted: Planted, measured: Measured, config: PredictConfig
) -> None:
    predictor = train(planted.features_NF, measured, config)
    fresh = planted.rng.normal(size=planted.features_NF.shape).astype(np.float32)
    mixing = np.linalg.lstsq(planted.features_NF, planted.truth_NH, rcond=None)[0]
    r_H = correlation(predictor.predict(fresh).mean_NH, fresh @ mixing)
    # a measured token has r = 0.71; 3072 tokens for some 400 weights leave 0.13 of the noise
    assert r_H.min() > 0.93


def test_estimated_r_with_the_truth_is_r_with_the_truth(
    planted: Planted, measured: Measured, config: PredictConfig
) -> None:
    networks = train(planted.features_NF, measured, config).networks
    found = cross_fitted(networks, planted.features_NF, measured)
    estimate = agreement(found.predicted_NH, found.measured_NH, measured.halves_2NH)
    np.testing.assert_allclose(estimate.ceiling_H, np.sqrt(0.5), atol=0.03)
    # standard error of r is (1 − r²) / √4096 ≈ 0.01, divided by the ceiling
    expected = correlation(found.predicted_NH, planted.truth_NH)
    np.testing.assert_allclose(estimate.r_truth_H, expected, atol=0.06)


def test_deviations_cover_held_out_truth(
    planted: Planted, measured: Measured, config: PredictConfig
) -> None:
    networks = train(planted.features_NF, measured, config).networks
    found = cross_fitted(networks, planted.features_NF, measured)
    error_NH = found.predicted_NH - planted.truth_NH
    variance_H = found.curves.error_variance(found.predicted_NH).mean(0)
    # the variance of (m − χ)² is 2 (e + ν)²: over 4096 tokens 1.6 / 64 = 0.025 of e ≈ 0.1
    np.testing.assert_allclose(variance_H, (error_NH**2).mean(0), atol=0.075)
    denoised = denoise(networks, planted.features_NF, measured)
    inside = np.abs(denoised.mean_NH - planted.truth_NH) < 1.96 * denoised.deviation_NH
    assert 0.90 < inside.mean() < 0.98


def test_denoising_has_the_error_of_its_formula(
    planted: Planted, measured: Measured, config: PredictConfig
) -> None:
    networks = train(planted.features_NF, measured, config).networks
    found = cross_fitted(networks, planted.features_NF, measured)
    denoised = denoise(networks, planted.features_NF, measured)
    noise = ((measured.chi_NH - planted.truth_NH) ** 2).mean()
    error = ((found.predicted_NH - planted.truth_NH) ** 2).mean()
    least = error * noise / (error + noise)
    np.testing.assert_allclose(((denoised.mean_NH - planted.truth_NH) ** 2).mean(), least, rtol=0.1)
    assert (denoised.deviation_NH**2).mean() == pytest.approx(least, rel=0.35)


def test_useless_features_leave_the_measurement_shrunk(
    planted: Planted, config: PredictConfig
) -> None:
    measured = Measured.of_shards(planted.noisy_halves(0.3), planted.shard_N)
    useless = planted.rng.normal(size=planted.features_NF.shape).astype(np.float32)
    networks = train(useless, measured, config).networks
    denoised = denoise(networks, useless, measured)
    # weights e / (e + ν) with e ≥ 1 and ν = 0.09
    assert correlation(denoised.mean_NH, measured.chi_NH).min() > 0.97


def test_a_network_is_the_same_from_its_tensors(
    planted: Planted, measured: Measured, config: PredictConfig
) -> None:
    predictor = train(planted.features_NF, measured, config)
    again = Predictor.from_tensors(load(save(predictor.to_tensors())))
    expected, found = (p.predict(planted.features_NF[:50]) for p in (predictor, again))
    np.testing.assert_array_equal(found.mean_NH, expected.mean_NH)
    np.testing.assert_array_equal(found.deviation_NH, expected.deviation_NH)


def test_a_network_trained_alone_is_that_of_the_ensemble(
    planted: Planted, measured: Measured, config: PredictConfig
) -> None:
    torch.manual_seed(5)  # the process's own random state is none of its business
    alone = train_network(planted.features_NF, measured, config, 2)
    state = torch.random.get_rng_state()
    ensemble = train(planted.features_NF, measured, config)
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, tensor in ensemble.networks[2].to_tensors().items():
        assert torch.equal(tensor, alone.to_tensors()[name]), name


def test_prediction_does_not_depend_on_the_batch(
    planted: Planted, measured: Measured, config: PredictConfig
) -> None:
    predictor = train(planted.features_NF, measured, config)
    whole = predictor.predict(planted.features_NF)
    part = predictor.predict(planted.features_NF[100:103])
    # products of other shapes sum in another order
    np.testing.assert_allclose(part.mean_NH, whole.mean_NH[100:103], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(part.deviation_NH, whole.deviation_NH[100:103], rtol=1e-4)


def test_constant_columns_and_features(planted: Planted, config: PredictConfig) -> None:
    halves = planted.noisy_halves(0.5)
    halves[..., 1] = 3.0
    features = planted.features_NF.copy()
    features[:, 0] = 7.0
    measured = Measured.of_shards(halves, planted.shard_N)
    found = train(features, measured, config).predict(features)
    assert np.isfinite(found.mean_NH).all() and np.isfinite(found.deviation_NH).all()
    np.testing.assert_allclose(found.mean_NH[:, 1], 3.0, atol=0.3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(
    planted: Planted, measured: Measured, config: PredictConfig, value: float
) -> None:
    features = planted.features_NF.copy()
    features[3, 2] = value
    with pytest.raises(ValueError, match="features must be finite: 1 of 4096 tokens"):
        train_network(features, measured, config, 0)


def test_other_features_are_refused(
    planted: Planted, measured: Measured, config: PredictConfig
) -> None:
    network = train_network(planted.features_NF, measured, config, 0)
    with pytest.raises(ValueError, match=r"expected 10 features per token.*another model"):
        network.predict(planted.features_NF[:, :9])
    with pytest.raises(ValueError, match="features of 4095 tokens, chi of 4096"):
        train_network(planted.features_NF[1:], measured, config, 0)
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
        ({"num_networks": 1}, "num_networks must be at least 2"),
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
