"""The difference of two measurements, against planted signal and noise."""

from __future__ import annotations

import numpy as np
import pytest

from spectro.susceptibility.change_from_control import (
    FDR,
    ControlDifference,
    Exceedances,
    HalvesOfTwo,
    MovedSums,
    moved,
)

NUM, MOVED_TOKENS = 20_000, 400


def planted(
    rng: np.random.Generator, *, shared: bool, shift: float, scale: float = 0.0
) -> HalvesOfTwo:
    """One column of χ of deviation 2, whose noise has deviation 1 in each half.

    The posterior scales χ and adds `shift` to the first tokens; it changes the noise by a tenth.
    """
    signal_N = 2 * rng.normal(size=NUM)
    base = [signal_N + rng.normal(size=NUM) for _ in range(2)]
    own = []
    for half in base:
        noise_N = half - signal_N if shared else rng.normal(size=NUM)
        changed_N = noise_N + 0.1 * rng.normal(size=NUM)
        chi_N = (1 + scale) * signal_N + changed_N
        chi_N[:MOVED_TOKENS] += shift
        own.append(chi_N)
    first, second, base_first, base_second = (each[:, None] for each in (*own, *base))
    return HalvesOfTwo(first=first, second=second, base_first=base_first, base_second=base_second)


def part(halves: HalvesOfTwo, tokens: slice) -> HalvesOfTwo:
    return HalvesOfTwo(
        first=halves.first[tokens],
        second=halves.second[tokens],
        base_first=halves.base_first[tokens],
        base_second=halves.base_second[tokens],
    )


def judged(halves: HalvesOfTwo, num_top: int = 5) -> tuple[ControlDifference, Exceedances]:
    """In three shards of unequal size."""
    shards = [slice(0, 7_000), slice(7_000, 7_001), slice(7_001, None)]
    sums = MovedSums()
    for shard in shards:
        sums.add(part(halves, shard))
    found = moved(sums)
    top = Exceedances.begin(found, num_top)
    for shard in shards:
        top.add(part(halves, shard), np.arange(NUM)[shard])
    return found, top


def test_the_difference_of_the_same_draws_has_the_small_error(rng) -> None:
    """sd(D) is 0.1/√2 along the same draws; along others two noises of 1 remain, √2/√2 = 1."""
    same, _ = judged(planted(rng, shared=True, shift=1.0))
    other, _ = judged(planted(rng, shared=False, shift=1.0))
    assert same.error_H[0] == pytest.approx(0.1 / np.sqrt(2), rel=0.03)
    assert other.error_H[0] == pytest.approx(
        np.hypot(1.0, np.hypot(1.0, 0.1)) / np.sqrt(2), rel=0.03
    )
    planted_variance = MOVED_TOKENS / NUM * (1 - MOVED_TOKENS / NUM)
    assert same.signal_H[0] == pytest.approx(np.sqrt(planted_variance), rel=0.03)
    assert same.base_deviation_H[0] == pytest.approx(np.sqrt(4 + 0.5), rel=0.03)
    # reliability of the mean: signal over signal and error
    expected = planted_variance / (planted_variance + same.error_H[0] ** 2)
    assert same.reliability_H[0] == pytest.approx(expected, abs=0.02)
    assert same.scale_H[0] == pytest.approx(0.0, abs=0.01)


def test_moved_tokens_are_found_and_few_others(rng) -> None:
    _, top = judged(planted(rng, shared=True, shift=1.0), num_top=MOVED_TOKENS + 50)
    kept = top.top_score_HK[0] >= top.threshold_H[0]
    ids = top.top_token_HK[0][kept]
    assert top.num_significant_H[0] == pytest.approx(MOVED_TOKENS / (1 - FDR), rel=0.06)
    assert (ids < MOVED_TOKENS).sum() == MOVED_TOKENS, "14 errors away"
    assert (ids >= MOVED_TOKENS).mean() <= 2 * FDR
    difference = top.top_difference_HK[0][kept][ids < MOVED_TOKENS]
    assert difference.mean() == pytest.approx(1.0 - MOVED_TOKENS / NUM, abs=0.03)
    assert (np.diff(top.top_score_HK[0]) <= 0).all()


def test_noise_alone_is_not_significant(rng) -> None:
    for shared in (True, False):
        found, top = judged(planted(rng, shared=shared, shift=0.0))
        assert top.num_significant_H[0] == 0 and np.isinf(top.threshold_H[0])
        assert (
            abs(found.reliability_H[0]) < 0.05 and found.signal_H[0] < 0.1 * found.error_H[0] + 0.02
        )


def test_a_scaled_column_is_seen_as_scaled(rng) -> None:
    found, _ = judged(planted(rng, shared=True, shift=0.0, scale=-0.1))
    assert found.scale_H[0] == pytest.approx(-0.1, abs=0.005)
    assert found.signal_H[0] == pytest.approx(0.2, rel=0.05)


def test_shards_make_no_difference(rng) -> None:
    halves = planted(rng, shared=True, shift=1.0)
    in_parts, top = judged(halves)
    whole = MovedSums()
    whole.add(halves)
    at_once = moved(whole)
    for name in ("deviation_H", "error_H", "signal_H", "reliability_H", "scale_H", "mean_H"):
        np.testing.assert_allclose(getattr(in_parts, name), getattr(at_once, name), rtol=1e-9)
    again = Exceedances.begin(at_once, 5)
    again.add(halves, np.arange(NUM))
    np.testing.assert_array_equal(again.top_token_HK, top.top_token_HK)


def test_columns_that_say_nothing() -> None:
    """The same χ twice; a constant column; one token."""
    rng = np.random.default_rng(0)
    chi = rng.normal(size=(50, 2))
    chi[:, 1] = 3.0
    same = HalvesOfTwo(first=chi, second=chi + 1, base_first=chi, base_second=chi + 1)
    for halves in (same, part(same, slice(0, 1))):
        sums = MovedSums()
        sums.add(halves)
        found = moved(sums)
        np.testing.assert_array_equal(found.error_H, 0.0)
        np.testing.assert_array_equal(found.signal_H, 0.0)
        assert np.isnan(found.reliability_H).all()
        top = Exceedances.begin(found, 3)
        top.add(halves, np.arange(len(halves.first)))
        assert not top.num_significant_H.any() and (top.top_token_HK == -1).all()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
