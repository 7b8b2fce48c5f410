"""Moments against the definition in exact arithmetic, and that no split of the rows matters."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectro.clustering.vectors.moments import BLOCK_ROWS, Moments, merge


def far_from_zero(num_rows: int, num_columns: int = 5) -> np.ndarray:
    """Unit variance, correlated, at 1e6: the expanded square would lose 12 of 16 digits."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(num_rows, num_columns)) @ rng.normal(size=(num_columns, num_columns))
    return mixed / mixed.std(axis=0) + 1e6


def assert_same(found: Moments, expected: Moments, rtol: float = 1e-12) -> None:
    """Equal to rounding; products relative to the variances of their two columns."""
    assert found.num_tokens == expected.num_tokens
    np.testing.assert_allclose(found.mean_H, expected.mean_H, rtol=1e-15)
    np.testing.assert_allclose(found.squares_H, expected.squares_H, rtol=rtol)
    size = np.sqrt(np.outer(expected.squares_H, expected.squares_H))
    assert (np.abs(found.products_HH - expected.products_HH) <= rtol * size).all()
    np.testing.assert_array_equal(found.largest_H, expected.largest_H)


def test_against_exact_arithmetic():
    x = far_from_zero(37, 3)
    exact = [[Fraction(float(value)) for value in row] for row in x]
    mean = [sum(column) / 37 for column in zip(*exact, strict=True)]
    centred = [[value - m for value, m in zip(row, mean, strict=True)] for row in exact]
    products = [[sum(row[a] * row[b] for row in centred) for b in range(3)] for a in range(3)]
    moments = Moments.of(x)
    np.testing.assert_allclose(moments.mean_H, np.array(mean, float), rtol=1e-16)
    np.testing.assert_allclose(moments.products_HH, np.array(products, float), rtol=1e-12)
    np.testing.assert_array_equal(moments.products_HH, moments.products_HH.T)


def test_longer_than_a_block():
    x = far_from_zero(2 * BLOCK_ROWS + 3)
    centred = x.astype(np.longdouble) - x.astype(np.longdouble).mean(axis=0)
    moments = Moments.of(x)
    products = (centred.T @ centred).astype(np.float64)
    np.testing.assert_allclose(moments.products_HH, products, rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(moments.scale_H, np.ones(5), rtol=1e-9)


ROWS = far_from_zero(3000)
WHOLE = Moments.of(ROWS)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 3000), max_size=8), order=st.randoms(use_true_random=False))
def test_any_split_in_any_order(cuts: list[int], order):
    blocks = np.split(ROWS, sorted(cuts))  # empty ones among them
    order.shuffle(blocks)
    merged = Moments.of(blocks[0])
    for block in blocks[1:]:
        merged = merge(merged, Moments.of(block))
    assert_same(merged, WHOLE)


def test_merging_as_a_tree():
    parts = [Moments.of(block) for block in np.split(ROWS, 8)]
    while len(parts) > 1:
        parts = [merge(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    assert_same(parts[0], WHOLE)


def test_variances_alone():
    alone = Moments.of(ROWS, covariances=False)
    np.testing.assert_allclose(alone.squares_H, WHOLE.squares_H, rtol=1e-12)
    with pytest.raises(ValueError, match="variances only"):
        _ = alone.covariance_HH
    assert merge(alone, WHOLE).products_HH is None


def test_rows_that_are_not_finite_are_counted_and_left_out():
    x = ROWS.copy()
    x[[3, 2500], 1], x[3, 4], x[7, 0] = np.nan, np.inf, -np.inf
    moments = Moments.of(x)
    assert moments.not_finite_H.tolist() == [1, 2, 0, 0, 1]
    assert (moments.num_not_finite, moments.num_tokens) == (3, 2997)
    assert_same(moments, Moments.of(np.delete(ROWS, [3, 7, 2500], axis=0)))
    assert Moments.of(np.full((4, 2), np.nan)).num_not_finite == 4


def test_shards_of_different_runs():
    with pytest.raises(ValueError, match="2 columns cannot join those of 3"):
        merge(Moments.of(np.ones((4, 3))), Moments.of(np.ones((4, 2))))
