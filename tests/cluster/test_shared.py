"""E[φ]·B out of the columns: exactly with B, exactly without it, and what the report says."""

import json

import numpy as np
import pytest

from spectro.clustering.clusters import cluster
from spectro.clustering.config import ClusterConfig
from spectro.clustering.vectors.moments import Moments
from spectro.clustering.vectors.preprocess import Transform, fit, fit_transform, needs_covariances
from spectro.clustering.vectors.uniform_mode import (
    UniformMode,
    remove_uniform_mode,
    weighted_centring,
)

CONFIG = ClusterConfig()
PHI = np.array([1.0, 0.5, 0.1, 0.2, 0.3, 2.0])
SCALE = np.array([1.0, 0.1, 0.1, 0.2, 0.1, 2.0])
RNG = np.random.default_rng(11)
OWN = RNG.normal(size=(5000, 6)) * SCALE
B = (5 * RNG.normal(size=5000)).astype(np.float32)
CHI = (OWN + B.astype(np.float64)[:, None] * PHI).astype(np.float32)


def test_with_the_response_the_result_is_that_of_the_restricted_columns():
    restricted = OWN.astype(np.float32)
    expected = fit_transform(restricted, CONFIG).apply(restricted)
    transform = fit_transform(CHI, CONFIG, mean_phi_H=PHI, response_N=B)
    # χ is rounded to a float32 of some 20 · E[φ], and divided by the deviation of what is left.
    bound = 40 * np.finfo(np.float32).eps * (PHI / SCALE).max()
    assert np.abs(transform.apply(CHI, B) - expected).max() < bound
    standardised = transform.standardise(CHI, B)
    np.testing.assert_array_equal(standardised, transform.apply(CHI, B))
    assert np.isnan(transform.report.row_share)
    # Of each column's variance E[φ]²·25 + own² the first is gone; 5000 tokens: within 1 %.
    share = (25 * PHI**2 / (25 * PHI**2 + SCALE**2)).mean()
    assert transform.report.response_share == pytest.approx(share, abs=0.01)


def test_without_the_response_any_amount_of_it_is_gone():
    transform = fit_transform(CHI, CONFIG, mean_phi_H=PHI)
    x = transform.apply(CHI)
    more = (CHI + 3 * B.astype(np.float64)[:, None] * PHI).astype(np.float32)
    np.testing.assert_allclose(transform.apply(more), x, atol=2e-4)
    np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-4)
    z = CHI / PHI
    differs = (z - z.mean(axis=1, keepdims=True)).var(axis=0)
    mean = (z / differs).sum(axis=1) / (1 / differs).sum()
    left = z - mean[:, None]
    expected = (left - left.mean(axis=0)) / left.std(axis=0)
    np.testing.assert_allclose(x, expected, atol=1e-4)
    assert transform.report.row_share == pytest.approx(
        1 - (left.var(0) / z.var(0)).mean(), abs=1e-6
    )


def test_the_weighted_mean_costs_the_columns_less_of_their_own_than_the_plain_one():
    z, weighed = OWN / PHI, weighted_centring(np.cov((CHI / PHI).T))[0]
    plain = z - z.mean(axis=1, keepdims=True)
    r = [
        [np.corrcoef(left[:, h], OWN[:, h])[0, 1] for h in range(6)]
        for left in ((CHI / PHI) @ weighed, plain)
    ]
    assert np.mean(r[0]) > np.mean(r[1]) + 0.02
    assert np.min(r[0]) > 0.5


@pytest.mark.parametrize("response", [B, None])
def test_a_saved_transform_gives_the_same_bits_row_by_row(response: np.ndarray | None):
    transform = fit_transform(CHI, CONFIG, mean_phi_H=PHI, response_N=response)
    again = Transform.from_dict(json.loads(json.dumps(transform.to_dict())))
    whole = transform.apply(CHI, response)
    assert again.needs_response == transform.needs_response == (response is not None)
    parts = [
        again.apply(CHI[s : s + 997], None if response is None else response[s : s + 997])
        for s in range(0, 5000, 997)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(transform.apply(CHI, response, num_threads=3), whole)
    assert json.dumps(again.report.to_dict()) == json.dumps(transform.report.to_dict())


def test_columns_that_are_dropped_are_dropped_from_the_shared_part_too():
    config = ClusterConfig(min_reliability=0.5)
    reliability = [0.9, 0.1, 0.9, 0.9, 0.9, 0.9]
    for response in (B, None):
        x = fit_transform(
            CHI, config, reliability_H=reliability, mean_phi_H=PHI, response_N=response
        ).apply(CHI, response)
        assert x.shape == (5000, 5)
        np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-4)


@pytest.mark.parametrize("kind", ["standardise", "whiten"])
def test_the_published_kinds_take_no_response_out(kind: str):
    config = ClusterConfig(preprocess=type(CONFIG.preprocess)(kind))
    told = fit_transform(CHI, config, mean_phi_H=PHI, response_N=B)
    assert not told.needs_response
    np.testing.assert_array_equal(told.apply(CHI), fit_transform(CHI, config).apply(CHI))


def test_covariances_are_only_taken_where_they_are_read():
    assert not needs_covariances(CONFIG)
    assert needs_covariances(CONFIG, is_response_unknown=True)


def test_a_response_that_is_missing_or_of_other_tokens_is_refused():
    transform = fit_transform(CHI, CONFIG, mean_phi_H=PHI, response_N=B)
    with pytest.raises(ValueError, match=r"response of 5000 tokens, found none; .*full_response"):
        transform.apply(CHI)
    with pytest.raises(ValueError, match=r"response of 5000 tokens, found shape \(4999,\)"):
        transform.standardise(CHI, B[1:])


@pytest.mark.parametrize(
    "phi, message",
    [
        (PHI[:5], "shared response in 5 columns, expected 6: is the summary from another"),
        (np.where(PHI == 0.1, np.nan, PHI), r"response in c is nan, .*preprocess=standardise"),
        (np.where(PHI == 0.1, 0.0, PHI), r"response in c is 0\.0, expected a finite"),
    ],
)
def test_an_impossible_share_is_refused(phi: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        fit(Moments.of(CHI), CONFIG, names=list("abcdef"), shared=UniformMode(mean_phi_H=phi))


def test_columns_that_are_nothing_but_the_response_are_refused():
    only = (B.astype(np.float64)[:, None] * PHI).astype(np.float64)
    with pytest.raises(ValueError, match="nothing of their own"):
        fit_transform(only, CONFIG, mean_phi_H=PHI)
    with pytest.raises(ValueError, match="6 of 6 columns are the same for every token"):
        fit_transform(remove_uniform_mode(only, B, PHI), CONFIG)


def test_clusters_in_memory_do_not_see_the_response():
    own, chi, b = OWN[:600].astype(np.float32), CHI[:600], B[:600]
    own[:80] = 0.05 * own[:80] + 4 * SCALE.astype(np.float32)
    chi = (own + b.astype(np.float64)[:, None] * PHI).astype(np.float32)
    config = ClusterConfig(num_neighbours=12, min_size=10, reach=150)
    found = cluster(chi, config, mean_phi_H=PHI, response_N=b)
    largest = max(found.members, key=lambda rows: np.isin(rows, np.arange(80)).sum())
    assert np.isin(np.arange(80), largest).mean() > 0.9
    assert np.isin(largest, np.arange(80)).mean() > 0.9
