"""Coverage of the intervals, by simulation of chains whose χ is known in closed form.

(ΔL, Δℓ) of a draw are jointly normal, so that moments are known, and stay so under the weights
exp(−nβ ΔL), which shift the means by −nβ times the covariances: with means m, a, variance s² of ΔL
and covariance c, the posterior has E[ΔL] = m − nβ s², E[Δℓ] = a − nβ c and the same covariances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from spectro.susceptibility.estimator import ChainSums, EstimatorKind
from spectro.susceptibility.interval import (
    LEVEL,
    half_width,
    interval_words,
    t_quantile,
)
from spectro.susceptibility.reliability import estimate_column

MEASUREMENTS = 2000
TOLERANCE = 3 * math.sqrt(LEVEL * (1 - LEVEL) / MEASUREMENTS)
"""Three binomial standard deviations of the share that is covered: 0.0146."""
NUM_DRAWS = 40


@dataclass(frozen=True)
class Law:
    """Of (ΔL, Δℓ) of one draw."""

    mean: tuple[float, float]
    covariance: tuple[tuple[float, float], tuple[float, float]]

    def tilted(self, nbeta: float) -> Law:
        """Under the weights exp(−nβ ΔL)."""
        first = self.covariance[0]
        mean = (self.mean[0] - nbeta * first[0], self.mean[1] - nbeta * first[1])
        return Law(mean, self.covariance)


RESTRICTED = Law((0.4, 0.7), ((0.04, 0.05), (0.05, 0.16)))
UNRESTRICTED = Law((1.5, 2.1), ((0.2, 0.1), (0.1, 0.5)))


def truth(component: Law, reference: Law) -> float:
    """χ = −E[φ (Δℓ − ΔL)] + E[φ] · E_ref[Δℓ − ΔL], by moments."""
    phi, delta = component.mean
    (variance, covariance), _ = component.covariance
    product = (covariance + phi * delta) - (variance + phi**2)
    return -product + phi * (reference.mean[1] - reference.mean[0])


def chains(law: Law, num_chains: int, nbeta: float, rng: np.random.Generator) -> ChainSums:
    """Sums of one token over draws of every chain; the last chain is shorter."""
    lengths = [NUM_DRAWS] * (num_chains - 1) + [NUM_DRAWS - 10]
    root = np.linalg.cholesky(np.array(law.covariance))
    draws = [law.mean + rng.normal(size=(n, 2)) @ root.T for n in lengths]
    weight = [np.exp(-nbeta * (d[:, 0] - law.mean[0])) for d in draws]
    pairs = list(zip(weight, draws, strict=True))
    return ChainSums(
        weighted_CN=np.array([[(w * d[:, 0]) @ d[:, 1]] for w, d in pairs]),
        plain_CN=np.array([[w @ d[:, 1]] for w, d in pairs]),
        delta_loss=[d[:, 0] for d in draws],
        weight=weight,
    )


def errors_in_standard_errors(
    kind: EstimatorKind, num_chains: int, nbeta: float
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(estimate − truth) / standard error of every measurement."""
    posterior = RESTRICTED.tilted(nbeta)
    two = kind is EstimatorKind.TWO_CHAIN
    expected = truth(posterior, UNRESTRICTED if two else posterior)
    rng = np.random.default_rng([num_chains, two, int(10 * nbeta)])
    found = np.empty(MEASUREMENTS)
    for measurement in range(MEASUREMENTS):
        full = chains(UNRESTRICTED, num_chains, 0.0, rng) if two else None
        column = estimate_column(chains(RESTRICTED, num_chains, nbeta, rng), full, kind)
        found[measurement] = (column.chi_N[0] - expected) / column.standard_error_N[0]
    return found


@pytest.mark.parametrize(
    ("kind", "nbeta", "num_chains"),
    [
        (EstimatorKind.TWO_CHAIN, 2.0, 2),
        (EstimatorKind.TWO_CHAIN, 2.0, 4),
        (EstimatorKind.TWO_CHAIN, 2.0, 8),
        (EstimatorKind.TWO_CHAIN, 0.0, 4),
        (EstimatorKind.ONE_CHAIN, 2.0, 4),
    ],
)
def test_intervals_cover_the_truth(kind: EstimatorKind, nbeta: float, num_chains: int) -> None:
    """Importance-weighted and plain draws; with 1.96 in the place of t the same test fails."""
    found = np.abs(errors_in_standard_errors(kind, num_chains, nbeta))
    covered = float(np.mean(found <= half_width(1.0, num_chains)))
    assert abs(covered - LEVEL) <= TOLERANCE
    normal = float(np.mean(found <= 1.96))
    assert normal < LEVEL - TOLERANCE


def test_quantiles_are_those_of_the_tables() -> None:
    known = {1: 12.706, 2: 4.303, 3: 3.182, 7: 2.365, 15: 2.131, 1000: 1.962}
    for degrees, value in known.items():
        assert t_quantile(degrees) == pytest.approx(value, abs=5e-4)
    found = t_quantile(np.array([3, 0, -1, np.nan]))
    assert found[0] == pytest.approx(stats.t.ppf(0.975, 3), rel=1e-12)
    assert np.isnan(found[1:]).all()
    np.testing.assert_allclose(half_width([1.0, 2.0], 4), np.array([1, 2]) * 3.18245, rtol=1e-5)
    assert np.isnan(half_width(1.0, 1)) and np.isnan(half_width(1.0, None))


def test_words_name_the_number_of_chains() -> None:
    assert interval_words(4) == "95 % interval, Student t, 4 chains"
    assert interval_words(2) == "95 % interval, Student t, 2 chains (t = 12.7: wide)"
    assert interval_words(1) == "no interval: one chain"
    assert "not known" in interval_words(None)
