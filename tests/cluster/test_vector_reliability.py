"""Reliability of the vectors that clusters see, against planted signal and noise."""

import numpy as np
import pytest

from spectro.clustering.config import ClusterConfig, Preprocess
from spectro.clustering.vectors.preprocess import fit_transform
from spectro.clustering.vectors.vector_reliability import VectorAgreement, report_lines

NUM = 20_000
SIGNAL = np.array([2.0, 1.0, 0.5, 0.0])
RNG = np.random.default_rng(3)


def halves() -> tuple[np.ndarray, np.ndarray]:
    """Signal of deviation SIGNAL and independent noise of deviation 1 in each half."""
    signal = RNG.normal(size=(NUM, 4)) * SIGNAL
    first, second = signal + RNG.normal(size=(2, NUM, 4))
    return first.astype(np.float32), second.astype(np.float32)


FIRST, SECOND = halves()
CHI = (FIRST + SECOND) / 2


def test_dimensions_and_all_of_them_together():
    transform = fit_transform(CHI, ClusterConfig())
    agreement = VectorAgreement(transform.num_dimensions)
    for rows in (slice(0, 7000), slice(7000, None)):
        agreement.add_halves(transform.apply(FIRST[rows]), transform.apply(SECOND[rows]))
    report = agreement.reported(transform).report
    # Correlations of 20 000 rows err by 0.007.
    expected = SIGNAL**2 / (SIGNAL**2 + 1)
    np.testing.assert_allclose(report.dimension_reliability_D, expected, atol=0.025)
    # Each dimension counts by its variance in a half, over that of χ: (s² + 1) / (s² + 1/2).
    weights = (SIGNAL**2 + 1) / (SIGNAL**2 + 0.5)
    assert report.reliability == pytest.approx(
        (expected * weights).sum() / weights.sum(), abs=0.015
    )
    assert np.isnan(report.row_share)


def test_what_the_mean_of_the_rows_took():
    uniform = 3 * RNG.normal(size=(NUM, 1))
    chi = (RNG.normal(size=(NUM, 4)) + uniform).astype(np.float32)
    transform = fit_transform(chi, ClusterConfig(preprocess=Preprocess.STANDARDISE))
    agreement = VectorAgreement(4)
    agreement.add_whole(transform.apply(chi))
    # Columns of variance 9 + 1, of which (1 − 1/4) · 1 is not in the mean of four columns.
    report = agreement.reported(transform).report
    assert report.row_share == pytest.approx(1 - 0.75 / 10, abs=0.002)
    assert np.isnan(report.reliability)
    assert report.dimension_reliability_D.size == 0


def test_a_half_that_does_not_vary_agrees_with_nothing():
    transform = fit_transform(CHI, ClusterConfig())
    agreement = VectorAgreement(4)
    agreement.add_halves(np.zeros((50, 4), np.float32), transform.apply(SECOND[:50]))
    report = agreement.reported(transform).report
    assert report.reliability == 0.0
    assert report.dimension_reliability_D.tolist() == [0.0] * 4


def test_the_sentences_have_the_numbers():
    transform = fit_transform(CHI, ClusterConfig())
    agreement = VectorAgreement(4)
    agreement.add_halves(transform.apply(FIRST), transform.apply(SECOND))
    transform = agreement.reported(transform)
    r = transform.report.reliability
    what, agree = report_lines(transform, ["l0h0", "l0h1", "mlp", "embed"])
    assert what == "Vectors: each column at unit variance; 4 dimensions."
    assert (
        f"agree on the vectors at r = {r:.2f}, of all chains that makes {2 * r / (1 + r):.2f}"
        in (agree)
    )
    assert "(embed) to 0.80 (l0h0), median" in agree
