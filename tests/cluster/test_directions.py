"""Which principal directions are signal: reliability from two halves of the chains."""

import json

import numpy as np
import pytest
from scipy.linalg import hadamard

from spectro.clustering.config import ClusterConfig, Preprocess
from spectro.clustering.vectors.moments import Moments
from spectro.clustering.vectors.preprocess import Transform, fit_transform
from spectro.clustering.vectors.transform import TransformReport

DEVIATION = np.array([0.0, 4.0, 3.0, 2.0, 1.4, 1.0, 0.6, 0.3])
"""Of the signal along each planted direction; the first is noise, five times the others'."""


def with_halves(num_tokens: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """χ of eight columns and its two halves.

    Signal of variance s² and independent noise of variance 2 in each half: halves correlate by
    s² / (s² + 2), and their mean has the reliability s² / (s² + 1). The rotation gives all columns
    the same variance, so that standardisation leaves the planted directions.
    """
    rng = np.random.default_rng(5)
    signal = rng.normal(size=(num_tokens, 8)) * DEVIATION
    noise = np.sqrt(2) * rng.normal(size=(2, num_tokens, 8))
    noise[:, :, 0] *= 5
    first, second = (signal + noise) @ hadamard(8) / np.sqrt(8)
    return (first + second) / 2, first, second


CHI, FIRST, SECOND = with_halves()
HALVES = Moments.of(np.concatenate([FIRST, SECOND], axis=1))


def obvious_reliability(transform: Transform) -> np.ndarray:
    """Of each dimension: the halves through the transform, correlated, Spearman and Brown."""
    a, b = transform.apply(FIRST), transform.apply(SECOND)
    r = np.array([np.corrcoef(a[:, d], b[:, d])[0, 1] for d in range(a.shape[1])])
    return np.where(r > 0, 2 * r / (1 + r), r)


def test_reliability_of_directions():
    config = ClusterConfig(preprocess=Preprocess.WHITEN, whiten_variance=1.0)
    transform = fit_transform(CHI, config, halves=HALVES)
    found = transform.report.direction_reliability_V
    np.testing.assert_allclose(found, obvious_reliability(transform), atol=1e-6)
    # Most variance first: noise of 25, then signal + 1. A correlation of 20 000 errs by 0.01.
    np.testing.assert_allclose(found, DEVIATION**2 / (DEVIATION**2 + 1), atol=0.04)


def test_a_direction_of_noise_is_dropped_though_it_varies_most():
    config = ClusterConfig(preprocess=Preprocess.WHITEN, whiten_reliability=0.4)
    transform = fit_transform(CHI, config, halves=HALVES)
    reliability = transform.report.direction_reliability_V
    kept = transform.report.kept_directions_D
    assert kept.tolist() == np.flatnonzero(reliability >= 0.4).tolist()
    assert kept.tolist() == [1, 2, 3, 4, 5]
    assert f"{8 - kept.size} of 8 directions dropped: reliability below 0.4" in (
        transform.report.reasons
    )
    x = transform.apply(CHI).astype(np.float64)
    np.testing.assert_allclose(x.T @ x / len(x), np.eye(kept.size), atol=1e-4)
    np.testing.assert_allclose(obvious_reliability(transform), reliability[kept], atol=1e-6)


def test_whitened_directions_are_weighed_by_their_reliability():
    config = ClusterConfig(
        preprocess=Preprocess.WHITEN, whiten_variance=1.0, weigh_by_reliability=True
    )
    transform = fit_transform(CHI, config, halves=HALVES)
    x = transform.apply(CHI).astype(np.float64)
    expected = np.diag(np.clip(transform.report.direction_reliability_V, 0, 1))
    np.testing.assert_allclose(x.T @ x / len(x), expected, atol=1e-4)
    assert transform.report.column_reliability_H.size == 0


def test_the_report_is_saved():
    config = ClusterConfig(preprocess=Preprocess.WHITEN, whiten_reliability=0.4)
    report = fit_transform(CHI, config, halves=HALVES).report
    again = TransformReport.from_dict(json.loads(json.dumps(report.to_dict())))
    assert json.dumps(again.to_dict()) == json.dumps(report.to_dict())


BY_RELIABILITY = ClusterConfig(preprocess=Preprocess.WHITEN, whiten_reliability=0.4)
WEIGHED = ClusterConfig(preprocess=Preprocess.WHITEN, weigh_by_reliability=True)


@pytest.mark.parametrize("config", [BY_RELIABILITY, WEIGHED])
@pytest.mark.parametrize(
    "halves, message",
    [
        (None, "halves need at least two chains, did the run have one"),
        (Moments.of(np.full((9, 16), np.nan)), "not finite in 9 of 9.*at least two chains"),
        (Moments.of(FIRST), r"shape \(20000, 8\), expected \(20000, 16\)"),
        (Moments.of(np.zeros((9, 16))), r"shape \(9, 16\), expected \(20000, 16\)"),
    ],
)
def test_halves_that_cannot_be_used(config: ClusterConfig, halves, message: str):
    with pytest.raises(ValueError, match=message):
        fit_transform(CHI, config, halves=halves)


def test_no_direction_is_reliable():
    noise = np.random.default_rng(0).normal(size=(2, 500, 4))
    halves = Moments.of(np.concatenate(list(noise), axis=1))
    with pytest.raises(ValueError, match=r"no principal direction has a reliability of 0\.4"):
        fit_transform(noise.mean(axis=0), BY_RELIABILITY, halves=halves)


def test_halves_without_directions_are_refused():
    with pytest.raises(ValueError, match=r"whiten_reliability needs cluster\.preprocess: whiten"):
        ClusterConfig(whiten_reliability=0.4)
