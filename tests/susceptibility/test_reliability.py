"""Split-half formulas, against plain ones, and where they have no value."""

import numpy as np
import pytest

from spectro.susceptibility.reliability import column_correlation, spearman_brown


def test_spearman_brown_is_the_reliability_of_more_data() -> None:
    """Signal of variance 1 and noise of 4 per datum: m data have 1 / (1 + 4 / m)."""
    assert spearman_brown(1 / 5) == pytest.approx(1 / 3)
    assert spearman_brown(1 / 5, 8) == pytest.approx(2 / 3)
    assert spearman_brown(2 / 3, 1 / 8) == pytest.approx(1 / 5)
    assert spearman_brown([-0.5, 0.0, 1.0]).tolist() == [-2.0, 0.0, 1.0]


def test_spearman_brown_ends_at_its_pole() -> None:
    assert np.isnan(spearman_brown([-1.0, -1.5, np.nan])).all()
    assert np.isnan(spearman_brown([-0.5, -0.49], 3)).tolist() == [True, False]


def test_columns_correlate_as_numpy_has_it() -> None:
    rng = np.random.default_rng(0)
    first = (7 + rng.normal(size=(50, 3))).astype(np.float32)
    second = (first + rng.normal(size=(50, 3))).astype(np.float32)
    first[:, 2] = 3.0
    r = column_correlation(first, second)
    for h in (0, 1):
        expected = np.corrcoef(first[:, h].astype(float), second[:, h].astype(float))[0, 1]
        assert r[h] == pytest.approx(expected, rel=1e-12)
    assert np.isnan(r[2]), "a constant column"
