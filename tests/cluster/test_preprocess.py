"""Preprocessing: what comes out, what it refuses, and that a saved transform is the same."""

import json

import numpy as np
import pytest
from planted import mixture

from spectro.cluster import ClusterConfig, Preprocess, Transform
from spectro.cluster.preprocess import fit_transform

CHI = mixture(sizes=[60, 40], num_body=300, num_columns=8)[0]


def test_standardise_by_the_obvious_route():
    x = fit_transform(CHI, ClusterConfig()).apply(CHI)
    chi = CHI.astype(np.float64)
    expected = (chi - chi.mean(0)) / chi.std(0)
    expected -= expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(x, expected, atol=1e-5)


def test_the_uniform_mode_is_removed():
    uniform = np.random.default_rng(1).normal(size=(CHI.shape[0], 1))
    scaled = CHI / CHI.std(0)
    x = fit_transform(scaled, ClusterConfig()).apply(scaled)
    # A multiple of the scales shifts each row evenly after standardisation.
    moved = fit_transform(scaled, ClusterConfig()).apply((scaled + uniform).astype(np.float32))
    np.testing.assert_allclose(moved, x, atol=1e-4)


def test_whitening_gives_unit_covariance_and_drops_small_directions():
    config = ClusterConfig(preprocess=Preprocess.WHITEN, whiten_variance=1.0)
    x = fit_transform(CHI, config).apply(CHI).astype(np.float64)
    np.testing.assert_allclose(x.T @ x / x.shape[0], np.eye(x.shape[1]), atol=1e-4)
    fewer = fit_transform(CHI, ClusterConfig(preprocess=Preprocess.WHITEN, whiten_variance=0.5))
    assert fewer.projection_KD.shape[1] < x.shape[1]


@pytest.mark.parametrize("kind", list(Preprocess))
def test_saved_transform_places_new_tokens_alike(kind: Preprocess):
    transform = fit_transform(CHI, ClusterConfig(preprocess=kind))
    again = Transform.from_dict(json.loads(json.dumps(transform.to_dict())))
    np.testing.assert_array_equal(again.apply(CHI[:7]), transform.apply(CHI)[:7])


def test_unreliable_columns_are_dropped_or_weighed():
    reliability = [0.9, 0.1, 0.8, 0.7, 0.05, 0.9, 0.5, 0.6]
    dropped = fit_transform(CHI, ClusterConfig(min_reliability=0.3), reliability_H=reliability)
    assert dropped.kept_K.tolist() == [0, 2, 3, 5, 6, 7]
    weighed = fit_transform(
        CHI, ClusterConfig(weigh_by_reliability=True), reliability_H=reliability
    )
    np.testing.assert_allclose(weighed.weight_K**2, reliability)


def _with(value: float) -> np.ndarray:
    chi = CHI.copy()
    chi[5, 3] = value
    return chi


@pytest.mark.parametrize(
    "chi, config, kwargs, message",
    [
        (_with(np.nan), ClusterConfig(), {}, "not finite in 1 of 400 tokens .*l0h3"),
        (_with(np.inf), ClusterConfig(), {}, "not finite"),
        (CHI * np.array([1, 0, 1, 1, 1, 1, 1, 1]), ClusterConfig(), {}, "1 of 8 columns.*l0h1"),
        (CHI * 0 + 1e8, ClusterConfig(), {}, "8 of 8 columns are the same for every token"),
        (CHI[:1], ClusterConfig(), {}, "N ≥ 2"),
        (CHI[:, 0], ClusterConfig(), {}, "N ≥ 2"),
        (CHI[:, :1], ClusterConfig(), {}, "at least 2 columns"),
        (CHI, ClusterConfig(min_reliability=0.5), {}, "need the reliability"),
        (
            CHI,
            ClusterConfig(min_reliability=0.5),
            {"reliability_H": [1.0]},
            "1 reliabilities for 8",
        ),
        (CHI, ClusterConfig(min_reliability=0.5), {"reliability_H": [0.1] * 8}, "found 0 of 8"),
    ],
)
def test_refusals(chi: np.ndarray, config: ClusterConfig, kwargs: dict, message: str):
    names = [f"l0h{h}" for h in range(8)]
    with pytest.raises(ValueError, match=message):
        fit_transform(chi, config, names=names[: chi.shape[-1]], **kwargs)


def test_a_transform_of_another_run_is_refused():
    with pytest.raises(ValueError, match="another run"):
        fit_transform(CHI, ClusterConfig()).apply(CHI[:, :5])
