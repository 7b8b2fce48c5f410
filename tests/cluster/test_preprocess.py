"""Preprocessing: what comes out, what it refuses, and that a saved transform is the same."""

import json

import numpy as np
import pytest
from planted import mixture

from spectro.clustering.config import ClusterConfig, Preprocess
from spectro.clustering.vectors.moments import Moments, merge
from spectro.clustering.vectors.preprocess import Transform, fit, fit_transform

STANDARD = ClusterConfig(preprocess=Preprocess.STANDARDISE)
CHI = mixture(sizes=[60, 40], num_body=300, num_columns=8)[0]


def test_standardise_by_the_obvious_route():
    chi = CHI.astype(np.float64)
    expected = (chi - chi.mean(0)) / chi.std(0)
    x = fit_transform(CHI, ClusterConfig()).apply(CHI)
    np.testing.assert_allclose(x, expected, atol=1e-5)
    x = fit_transform(CHI, STANDARD).apply(CHI)
    expected -= expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(x, expected, atol=1e-5)


def test_the_uniform_mode_is_removed():
    uniform = np.random.default_rng(1).normal(size=(CHI.shape[0], 1))
    scaled = CHI / CHI.std(0)
    x = fit_transform(scaled, STANDARD).apply(scaled)
    # A multiple of the scales shifts each row evenly after standardisation.
    moved = fit_transform(scaled, STANDARD).apply((scaled + uniform).astype(np.float32))
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


def test_fit_from_merged_shards_is_the_fit_in_memory():
    config = ClusterConfig(preprocess=Preprocess.WHITEN, whiten_variance=0.9)
    merged = merge(Moments.of(CHI[:130]), Moments.of(CHI[130:]))
    shards, memory = fit(merged, config), fit_transform(CHI, config)
    np.testing.assert_allclose(shards.projection_KD, memory.projection_KD, atol=1e-12)
    np.testing.assert_allclose(shards.scale_H, memory.scale_H, rtol=1e-12)


def test_whitening_by_the_obvious_route():
    config = ClusterConfig(preprocess=Preprocess.WHITEN, whiten_variance=0.8)
    chi = CHI.astype(np.float64)
    z = (chi - chi.mean(0)) / chi.std(0)
    _, singular, right = np.linalg.svd(z, full_matrices=False)
    share = np.cumsum(singular**2) / (singular**2).sum()
    num_kept = int((share < 0.8).sum()) + 1
    expected = (z @ right[:num_kept].T) / singular[:num_kept] * np.sqrt(len(chi))
    transform = fit_transform(CHI, config)
    x = transform.apply(CHI)
    np.testing.assert_allclose(np.abs(x), np.abs(expected), atol=1e-5)
    report = transform.report
    np.testing.assert_allclose(np.cumsum(report.direction_variance_V), share, rtol=1e-10)
    assert report.kept_directions_D.tolist() == list(range(num_kept))
    assert report.reasons == (
        f"{8 - num_kept} of 8 directions dropped: beyond 0.8 of the variance",
    )


@pytest.mark.parametrize("kind", list(Preprocess))
def test_a_rows_bits_depend_on_no_other_row(kind: Preprocess):
    chi = np.tile(CHI, (12, 1))  # more than one chunk
    share = {"whiten_variance": 0.95} if kind is Preprocess.WHITEN else {}
    transform = fit_transform(chi, ClusterConfig(preprocess=kind, **share))
    whole = transform.apply(chi)
    np.testing.assert_array_equal(transform.apply(chi, num_threads=3), whole)
    np.testing.assert_array_equal(np.tile(whole[:400], (12, 1)), whole)
    for step in (1, 7, 333):
        parts = [transform.apply(chi[start : start + step]) for start in range(0, 800, step)]
        np.testing.assert_array_equal(np.concatenate(parts)[:800], whole[:800])
    into = np.empty_like(whole)
    assert transform.apply(chi, out_ND=into) is into
    np.testing.assert_array_equal(into, whole)
    with pytest.raises(ValueError, match="out_ND must be float32"):
        transform.apply(chi, out_ND=into[1:])


def test_dropped_columns_are_reported():
    named = fit_transform(
        CHI, ClusterConfig(min_reliability=0.3), reliability_H=[1, 0.1] * 4, names=list("abcdefgh")
    )
    assert named.report.reasons == ("4 of 8 columns dropped: reliability below 0.3 (b, d, f)",)


def test_a_transform_saved_without_a_report_is_read():
    plain = fit_transform(CHI, ClusterConfig()).to_dict()
    del plain["report"], plain["shared"]
    plain["projection"] = (np.eye(8) - 1 / 8).tolist()
    assert Transform.from_dict(plain).report.reasons == ()


@pytest.mark.parametrize(
    "config", [ClusterConfig(min_reliability=0.3), ClusterConfig(weigh_by_reliability=True)]
)
def test_reliability_of_one_chain_is_refused(config: ClusterConfig):
    message = "2 of 8 columns is not known .first b.: halves need at least two chains"
    reliability = [0.9, np.nan, 0.9, np.nan, 0.9, 0.9, 0.9, 0.9]
    with pytest.raises(ValueError, match=message):
        fit_transform(CHI, config, reliability_H=reliability, names=list("abcdefgh"))


def test_a_constant_column_is_named_though_its_reliability_is_not_known():
    chi = CHI * np.array([1, 0, 1, 1, 1, 1, 1, 1])
    config, reliability = ClusterConfig(weigh_by_reliability=True), [0.9, np.nan] + [0.9] * 6
    with pytest.raises(ValueError, match=r"1 of 8 columns are the same.* .column 1"):
        fit_transform(chi, config, reliability_H=reliability)
