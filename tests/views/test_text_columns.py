"""Columns of a run: the same values in a text as in the response matrix, and names by pattern."""

from __future__ import annotations

import numpy as np
import pytest

from spectro.analysis.response_scale import ResponseScale, varying
from spectro.analysis.scaling import Scaling
from spectro.clustering.vectors.moments import Moments
from spectro.views.columns import RunColumns, matching
from spectro.views.text.document import TextColumns

NAMES = ("l0h0", "l0h1", "l0mlp", "l1h0", "embed")


def made(chi: np.ndarray) -> RunColumns:
    mean, deviation = chi.mean(axis=0), chi.std(axis=0)
    known = np.ones(chi.shape[1])
    columns = TextColumns(
        mean_C=mean, deviation_C=varying(deviation, mean), reliability_C=known, error_C=known
    )
    return RunColumns(names=NAMES, columns=columns)


@pytest.mark.parametrize("constant", [0.0, 7.0, 1e-9])
def test_row_centring_is_that_of_the_response_matrix(constant: float) -> None:
    """Also where a head is dead, and where a column varies by rounding alone."""
    rng = np.random.default_rng(0)
    chi = rng.normal(size=(50, 5)) * [1e-3, 1e-2, 1.0, 1.0, 1e-4] + 0.1
    chi[:, 1] = constant
    chi[:, 3] = 5.0 + 1e-9 * rng.normal(size=50)
    own = made(chi)
    scale = ResponseScale.of(Moments.of(chi, covariances=False), Scaling.CENTRED)
    x, varies = scale.apply(chi), [0, 2, 4]
    assert (own.columns.deviation_C[[1, 3]] == 0).all() and (x[:, [1, 3]] == 0).all()
    standard = (chi - own.columns.mean_C)[:, varies] / own.columns.deviation_C[varies]
    expected = standard - own.row_mean(chi)[:, None]
    np.testing.assert_allclose(x[:, varies], expected, rtol=1e-6, atol=1e-6)


def test_patterns_are_free_in_case_and_spaces() -> None:
    assert matching(NAMES, "L0H*") == matching(NAMES, " l0h* ") == [0, 1]
    assert matching(NAMES, "*MLP") == [2] and matching(NAMES, "l9*") == []
    assert made(np.eye(5)).matching(["embed", "L0*"]) == [4, 0, 1, 2]
