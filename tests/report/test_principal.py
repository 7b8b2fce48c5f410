"""Principal axes against a singular value decomposition, their ends against a sort."""

from __future__ import annotations

import numpy as np
import pytest

from spectro.analysis import response_matrix as module
from spectro.analysis.principal_axes import ends, principal
from spectro.analysis.response_matrix import moments_of
from spectro.analysis.response_scale import ResponseScale
from spectro.analysis.scaling import Scaling
from tests.report.test_matrix import COMPONENTS, blocks, made, scaled


def axes_of(chi, scaling=Scaling.STANDARDISED, num_axes=3, cuts=()):
    chi, sets = chi, np.zeros((0, len(chi)), bool)
    strata = np.zeros(len(chi) // 6, int)
    moments = moments_of(blocks(chi, sets, cuts, strata), covariances=True)
    names = COMPONENTS[: chi.shape[1]]
    found = principal(moments, ResponseScale.of(moments, scaling), names, num_axes)
    return found, blocks(chi, sets, cuts, strata)


@pytest.mark.parametrize("scaling", Scaling)
def test_against_svd(scaling: Scaling) -> None:
    chi, _ = made()
    x = scaled(chi, scaling)
    _, singular, vectors = np.linalg.svd(x, full_matrices=False)
    found, _ = axes_of(chi, scaling)
    np.testing.assert_allclose(found.variance_H, singular**2 / len(x), rtol=1e-7, atol=1e-14)
    np.testing.assert_allclose(found.share_H.sum(), 1.0)
    for axis in range(3):
        if found.share_H[axis] > 1e-6:
            agreement = abs(found.loading_AH[axis] @ vectors[axis])
            assert agreement == pytest.approx(1.0, abs=1e-6)
            assert found.loading_AH[axis][np.abs(found.loading_AH[axis]).argmax()] > 0


def test_signs_are_fixed_whatever_the_solver_says() -> None:
    """χ and −χ have the same axes; of loadings of equal size the first is positive."""
    chi, _ = made()
    np.testing.assert_allclose(axes_of(chi)[0].loading_AH, axes_of(-chi)[0].loading_AH, atol=1e-9)
    pair = np.array([[1.0, -1.0], [-1.0, 1.0]] * 6, np.float32)
    np.testing.assert_allclose(axes_of(pair, num_axes=1)[0].loading_AH, [[0.5**0.5, -(0.5**0.5)]])


def test_ends() -> None:
    chi, _ = made()
    found, all_blocks = axes_of(chi, cuts=(3, 4))
    got = ends(all_blocks, found, 4)
    score = scaled(chi, Scaling.STANDARDISED) @ found.loading_AH.T / np.sqrt(found.variance_H[:3])
    for axis in range(3):
        order = np.argsort(-score[:, axis], kind="stable")
        assert got.high_token_id_AK[axis].tolist() == order[:4].tolist()
        assert got.low_token_id_AK[axis].tolist() == order[::-1][:4].tolist()
        np.testing.assert_allclose(got.high_score_AK[axis], score[order[:4], axis], rtol=1e-6)
        np.testing.assert_allclose(got.low_score_AK[axis], score[order[::-1][:4], axis], rtol=1e-6)


def test_equal_tokens_come_by_id() -> None:
    chi = np.tile(np.array([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0]], np.float32), (2, 1))
    found, all_blocks = axes_of(chi, num_axes=1)
    assert ends(all_blocks, found, 3).high_token_id_AK.tolist() == [[0, 2, 3]]


def test_degenerate() -> None:
    """One column; nothing that varies; more axes asked for than there are."""
    chi, _ = made()
    one, all_blocks = axes_of(chi[:, :1], num_axes=5)
    assert one.loading_AH.tolist() == [[1.0]] and one.share_H.tolist() == [1.0]
    assert ends(all_blocks, one, 500).high_token_id_AK.shape == (1, 120)
    still, all_blocks = axes_of(np.ones((6, 3), np.float32))
    assert np.isnan(still.share_H).all()
    got = ends(all_blocks, still, 2)
    assert got.high_token_id_AK[0].tolist() == [0, 1] and (got.high_score_AK == 0).all()


def test_a_constant_column_has_no_part_in_any_axis() -> None:
    """Not even where rows are centred: the axes are those of the other columns."""
    chi, _ = made()
    chi[:, 1] = 7.0
    for scaling in Scaling:
        found, all_blocks = axes_of(chi, scaling, cuts=(3, 4))
        others, _ = axes_of(chi[:, [0, 2, 3]], scaling)
        np.testing.assert_allclose(found.variance_H[:3], others.variance_H, atol=1e-12)
        np.testing.assert_allclose(found.loading_AH[:2, 1], 0.0, atol=1e-9)
        x = scaled(chi[:, [0, 2, 3]], scaling)
        score = x @ found.loading_AH[0, [0, 2, 3]] / np.sqrt(found.variance_H[0])
        got = ends(all_blocks, found, 3)
        np.testing.assert_allclose(got.high_score_AK[0], np.sort(score)[::-1][:3], rtol=1e-6)


def test_ends_are_found_a_few_tokens_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    chi, _ = made()
    found, all_blocks = axes_of(chi)
    whole = ends(all_blocks, found, 4)
    monkeypatch.setattr(module, "TOKENS_AT_ONCE", 12)
    rows: list[int] = []
    scale = ResponseScale.apply

    def counted(self: ResponseScale, chi_NH: np.ndarray) -> np.ndarray:
        rows.append(len(chi_NH))
        return scale(self, chi_NH)

    monkeypatch.setattr(ResponseScale, "apply", counted)
    cut = ends(all_blocks, found, 4)
    assert max(rows) == 12 and sum(rows) == len(chi)
    assert cut.low_token_id_AK.tolist() == whole.low_token_id_AK.tolist()
    np.testing.assert_allclose(cut.high_score_AK, whole.high_score_AK, rtol=1e-9)
