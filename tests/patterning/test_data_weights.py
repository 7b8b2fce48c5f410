"""Data weights against their closed form, a general solver, and planted responses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize

from spectro.analysis.bounded_weights import weights_for
from spectro.analysis.data_weights import (
    LEAST_GAIN,
    Float64,
    UnitResponses,
    data_weights,
    effective_share,
    reliable_axes,
)

U, H, NUM_PLANTED = 400, 9, 3


def centred(share_U: Float64, x_UH: Float64) -> Float64:
    result: Float64 = x_UH - share_U @ x_UH
    return result


def planted(seed: int, noise: float) -> tuple[UnitResponses, Float64]:
    """Responses of rank 3, seen by two halves with independent noise; and what is true."""
    rng = np.random.default_rng(seed)
    share_U = rng.dirichlet(np.full(U, 20.0))
    true_UH = centred(
        share_U, rng.normal(size=(U, NUM_PLANTED)) @ rng.normal(size=(NUM_PLANTED, H))
    )
    first, second = (
        true_UH + centred(share_U, noise * rng.normal(size=true_UH.shape)) for _ in range(2)
    )
    return UnitResponses(share_U=share_U, first_UH=first, second_UH=second), true_UH


def test_without_active_bounds_it_is_the_ridge_pseudo_inverse() -> None:
    responses, _ = planted(0, 0.5)
    x_UH, ridge = responses.mean_UH, 0.3
    target_H = 1e-3 * np.random.default_rng(1).normal(size=H)
    covariance_HH = responses.covariance(x_UH, x_UH)
    expected_U = 1 + x_UH @ np.linalg.solve(covariance_HH + ridge * np.eye(H), target_H)
    found_U = weights_for(responses.share_U, x_UH, target_H, ridge, max_ratio=5.0)
    np.testing.assert_allclose(found_U, expected_U, atol=1e-9)


@pytest.mark.parametrize("size", [0.3, 2.0, 30.0])
def test_with_active_bounds_it_is_the_optimum_of_a_general_solver(size: float) -> None:
    rng = np.random.default_rng(2)
    share_U = rng.dirichlet(np.full(30, 5.0))
    x_UH = centred(share_U, rng.normal(size=(30, 3)))
    target_H, ridge, most = size * rng.normal(size=3), 0.1, 4.0

    def cost(factor_U: Float64) -> float:
        miss_H = (share_U * factor_U) @ x_UH - target_H
        return float(miss_H @ miss_H / ridge + share_U @ (factor_U - 1) ** 2) / 2

    reference = minimize(
        cost, np.ones(30), bounds=[(0, most)] * 30, method="SLSQP",
        constraints=LinearConstraint(share_U[None], 1, 1), options={"ftol": 1e-14, "maxiter": 2000},
    )  # fmt: skip
    found_U = weights_for(share_U, x_UH, target_H, ridge, most)
    assert found_U.min() >= 0 and found_U.max() <= most
    assert share_U @ found_U == pytest.approx(1, abs=1e-8)
    assert cost(found_U) <= reference.fun * (1 + 1e-7)
    np.testing.assert_allclose(found_U, reference.x, atol=2e-3)


def test_directions_that_the_halves_do_not_share_are_left_out() -> None:
    responses, true_UH = planted(3, 0.3)
    axes = reliable_axes(responses, 0.5)
    assert len(axes.direction_AH) == NUM_PLANTED and axes.num_dropped == H - NUM_PLANTED
    np.testing.assert_allclose(axes.within(true_UH), true_UH, atol=0.15)
    signal = np.diag(
        axes.direction_AH @ responses.covariance(true_UH, true_UH) @ axes.direction_AH.T
    )
    noise = 0.3**2 / 2
    np.testing.assert_allclose(axes.reliability_A, signal / (signal + noise), atol=0.05)


def test_responses_that_are_noise_are_refused() -> None:
    rng = np.random.default_rng(4)
    share_U = np.full(U, 1 / U)
    halves = [centred(share_U, rng.normal(size=(U, H))) for _ in range(2)]
    noise = UnitResponses(share_U=share_U, first_UH=halves[0], second_UH=halves[1])
    with pytest.raises(ValueError, match="direction of responses with reliability"):
        data_weights(noise, np.ones(H), grow=True)


def test_predictions_are_those_of_the_truth_and_not_of_the_noise() -> None:
    """Over many draws of the noise; weights judged by their own draws promise too much."""
    predicted, true, own, stated = [], [], [], []
    target_H = 0.05 * np.random.default_rng(5).normal(size=H)
    for seed in range(60):
        rng = np.random.default_rng(6)
        share_U = np.full(60, 1 / 60)
        true_UH = centred(share_U, rng.normal(size=(60, H)) * 0.2)
        noises = np.random.default_rng(100 + seed)
        halves = [true_UH + centred(share_U, 0.2 * noises.normal(size=(60, H))) for _ in range(2)]
        responses = UnitResponses(share_U=share_U, first_UH=halves[0], second_UH=halves[1])
        found = data_weights(responses, target_H, grow=False, min_reliability=0.1)
        mean_UH = (halves[0] + halves[1]) / 2
        along_H = target_H / (target_H @ target_H)
        predicted.append(found.predicted_H @ along_H)
        true.append((share_U * found.factor_U) @ true_UH @ along_H)
        own.append((share_U * found.factor_U) @ mean_UH @ along_H)
        stated.append(found.error_H)
    spread = np.std(predicted) / np.sqrt(len(predicted))
    assert np.mean(own) - np.mean(true) > 10 * spread
    # weights from half the draws do less than those from all
    assert 0.6 * np.mean(true) < np.mean(predicted) < np.mean(true) + 2 * spread
    assert np.mean(stated) > 0


def test_a_direction_grows_to_the_bound_on_the_change_and_a_size_is_kept() -> None:
    responses, _ = planted(7, 0.1)
    target_H = -responses.mean_UH[0]
    grown = data_weights(responses, target_H, grow=True, min_effective_share=0.3, max_ratio=20.0)
    assert grown.effective_share == pytest.approx(0.3, abs=0.02)
    assert grown.effective_share == effective_share(responses.share_U, grown.factor_U)
    small = data_weights(responses, 1e-3 * target_H, grow=False)
    np.testing.assert_array_equal(small.target_H, 1e-3 * target_H)
    assert small.effective_share > 0.99
    shortened = data_weights(responses, 1e3 * target_H, grow=False, min_effective_share=0.3)
    assert shortened.effective_share == pytest.approx(0.3, abs=0.02)
    assert np.linalg.norm(shortened.target_H) < 1e3 * np.linalg.norm(target_H)


def test_a_target_off_all_reliable_axes_is_refused() -> None:
    responses, _ = planted(8, 0.1)
    axes = reliable_axes(responses, 0.5)
    any_H = np.random.default_rng(9).normal(size=H)
    with pytest.raises(ValueError, match=r"found 0\.0% of it"):
        data_weights(responses, any_H - axes.within(any_H), grow=True)


@pytest.mark.parametrize("num_components", [1, 4])
def test_growth_ends_where_few_units_have_reached_their_bounds(num_components: int) -> None:
    """Two units have an effective share of a half at least, however large the target is."""
    x_UH = np.array([[1.0], [-1.0]]) * np.arange(1, num_components + 1)
    responses = UnitResponses(share_U=np.full(2, 0.5), first_UH=x_UH, second_UH=x_UH)
    found = data_weights(responses, x_UH[0], grow=True)
    np.testing.assert_allclose(found.factor_U, [2, 0], atol=2 * (LEAST_GAIN - 1))
    np.testing.assert_allclose(found.predicted_H, x_UH[0], rtol=2 * (LEAST_GAIN - 1))
    assert 0.25 < found.reached <= 1 + 1e-9


def test_one_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least two units of data, found 1"):
        UnitResponses(share_U=np.ones(1), first_UH=np.zeros((1, 3)), second_UH=np.zeros((1, 3)))


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_factors_do_not_depend_on_the_unit_of_responses(unit: float) -> None:
    responses, _ = planted(10, 0.3)
    x_UH = responses.mean_UH
    target_H = np.random.default_rng(11).normal(size=H)
    expected_U = weights_for(responses.share_U, x_UH, target_H, 0.01, max_ratio=5.0)
    found_U = weights_for(responses.share_U, unit * x_UH, unit * target_H, 0.01 * unit**2, 5.0)
    np.testing.assert_allclose(found_U, expected_U, atol=1e-6)
