"""What the benchmarks compute from their measurements, against plain arithmetic."""

import math

import numpy as np
import pytest
import torch

from benchmarks import columns, common, meter, same_result


def test_phases_are_exclusive() -> None:
    """An inner phase is taken off the outer one, and the parts sum to the whole."""
    now = [0.0]
    clock = meter.Meter(lambda: now[0])
    now[0] = 1.0
    with clock.phase("outer"):
        now[0] = 3.0
        with clock.phase("inner"):
            now[0] = 7.0
        now[0] = 8.0
        clock.turn_to("after")
        now[0] = 16.0
    now[0] = 20.0
    assert clock.close() == {"other": 5.0, "outer": 3.0, "inner": 4.0, "after": 8.0}


def test_flops_of_products_in_place_and_of_attention_are_counted() -> None:
    a, b, out = torch.ones(3, 5), torch.ones(5, 7), torch.zeros(3, 7)
    query = torch.ones(2, 4, 6, 8)

    def products() -> None:
        torch.mm(a, b, out=out)
        out.addmm_(a, b)

    def attention() -> None:
        torch.nn.functional.scaled_dot_product_attention(query, query, query, is_causal=True)

    assert meter.count_flops(lambda _: products()) == {"other": 2 * 2 * 3 * 5 * 7}
    assert meter.count_flops(lambda _: attention()) == {"other": 2 * 2 * 2 * 4 * 6 * 6 * 8}


def test_slope_of_a_power_law() -> None:
    sizes = [1.0, 2.0, 4.0, 8.0]
    found = common.slope(sizes, [3 * size**1.5 for size in sizes])
    assert found is not None
    assert found["slope"] == pytest.approx(1.5) and found["standard_error"] < 1e-6
    assert common.slope(sizes, [1.0, 0.0, 1.0, 1.0]) is None


def test_ratio_of_nothing_is_none() -> None:
    assert common.ratio([1.0], [0.0]) is None
    found = common.ratio([2.0, 6.0, 4.0], [1.0, 2.0, 1.0])
    assert found is not None
    assert (found["min"], found["median"], found["max"]) == (2.0, 3.0, 4.0)


def test_reliability_per_draw_predicts_a_longer_measurement() -> None:
    """Columns of known signal and noise: r(n) = n q / (1 + n q), q = variance ratio per draw."""
    rng = np.random.default_rng(0)
    num_tokens, num_columns, q = 200_000, 6, 0.05
    signal = rng.standard_normal((num_tokens, num_columns))

    def measured(draws: int) -> np.ndarray:
        noise = rng.standard_normal((num_tokens, num_columns)) / math.sqrt(q * draws)
        return signal + noise

    few = same_result._side([measured(4), measured(4)], 4)
    assert np.mean(few["per_draw"]) == pytest.approx(q, rel=0.05)
    many = same_result._side([measured(64), measured(64)], 64)
    assert many["mean"] == pytest.approx(64 * q / (1 + 64 * q), rel=0.02)


def test_centring_takes_off_the_uniform_mode() -> None:
    rng = np.random.default_rng(1)
    own = rng.standard_normal((5000, 8))
    uniform = 30 * rng.standard_normal((5000, 1))
    found = columns.centred(own + uniform)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=1e-9)
    assert abs(np.corrcoef(found[:, 0], uniform[:, 0])[0, 1]) < 0.2


def test_errors_of_columns_against_plain_correlation() -> None:
    rng = np.random.default_rng(2)
    exact = rng.standard_normal((4000, 3))
    found = 5 + 2 * exact + 0.1 * rng.standard_normal(exact.shape)
    errors = columns.errors(found, exact, ["a", "b", "c"])
    plain = 1 - np.corrcoef(found[:, 1], exact[:, 1])[0, 1]
    assert errors["b"]["one_minus_correlation"] == pytest.approx(plain, rel=1e-6)
    largest = np.abs(found - exact)[:, 1].max() / exact[:, 1].std()
    assert errors["b"]["largest_error_over_sd"] == pytest.approx(largest)
