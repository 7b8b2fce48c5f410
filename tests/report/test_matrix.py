"""The response matrix and its errors against plain loops and closed forms."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from spectro.analysis import response_matrix as module
from spectro.analysis.response_matrix import TokenBlock, moments_of, require_fits, response_matrix
from spectro.analysis.response_scale import ResponseScale
from spectro.analysis.scaling import Scaling

CONTEXT, NUM_SEQUENCES, NAMES = 6, 20, ("a", "b", "c")
COMPONENTS = ("l0h0", "l0h1", "l0mlp", "embed")
STRATA = np.repeat([0, 1, 2], [9, 7, 4])


def made(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """χ [N, H] with a mode that all columns share, and sets of tokens bool [R, N] that overlap."""
    rng = np.random.default_rng(seed)
    num = CONTEXT * NUM_SEQUENCES
    common = rng.normal(size=(num, 1)) + np.repeat(rng.normal(size=NUM_SEQUENCES), CONTEXT)[:, None]
    chi = 1e-3 * (5 + common + 0.3 * rng.normal(size=(num, 4))) * [1, 2, 30, 0.1]
    return chi.astype(np.float32), rng.random((3, num)) < [[0.5], [0.2], [0.05]]


def blocks(chi: np.ndarray, sets: np.ndarray, cuts: tuple[int, ...] = (), strata=STRATA):
    """Blocks of whole sequences, cut at these sequences."""
    ends = [0, *cuts, len(strata)]

    def all_blocks():
        for start, stop in pairwise(ends):
            tokens = slice(start * CONTEXT, stop * CONTEXT)
            row, token = np.nonzero(sets[:, tokens])
            yield TokenBlock(
                chi_NH=chi[tokens],
                first_token_id=start * CONTEXT,
                stratum_S=strata[start:stop],
                row_M=row,
                token_M=token,
            )

    return all_blocks


def found(chi, sets, scaling=Scaling.STANDARDISED, cuts=(), strata=STRATA):
    return response_matrix(
        blocks(chi, sets, cuts, strata), NAMES[: len(sets)], COMPONENTS, scaling, num_strata=3
    )


def scaled(chi: np.ndarray, scaling: Scaling) -> np.ndarray:
    """As the docstring says, in one line each."""
    x = chi.astype(np.float64) - chi.mean(axis=0, dtype=np.float64)
    if scaling is not Scaling.RAW:
        x = x / chi.astype(np.float64).std(axis=0)
    return x - x.mean(axis=1, keepdims=True) if scaling is Scaling.CENTRED else x


def errors_by_loop(x: np.ndarray, sets: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Σ_h n/(n − 1) Σ (u − ū)², sequence by sequence."""
    got = np.zeros((len(sets), x.shape[1]))
    for row, members in enumerate(sets):
        mean, u = x[members].mean(axis=0), np.zeros((len(strata), x.shape[1]))
        for s in range(len(strata)):
            tokens = np.arange(s * CONTEXT, (s + 1) * CONTEXT)
            own = tokens[members[tokens]]
            u[s] = (x[own] - mean).sum(axis=0) / members.sum()
            u[s] -= x[tokens].sum(axis=0) / len(x)
        for h in np.unique(strata):
            each, n = u[strata == h], (strata == h).sum()
            got[row] += n / (n - 1) * ((each - each.mean(axis=0)) ** 2).sum(axis=0)
    return np.sqrt(got)


@pytest.mark.parametrize("scaling", Scaling)
def test_against_loops(scaling: Scaling) -> None:
    chi, sets = made()
    x, got = scaled(chi, scaling), found(chi, sets, scaling)
    assert got.num_tokens_R.tolist() == sets.sum(axis=1).tolist()
    for row, members in enumerate(sets):
        np.testing.assert_allclose(got.mean_RH[row], x[members].mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(got.error_RH, errors_by_loop(x, sets, STRATA), rtol=1e-9)


def test_a_subset_has_the_error_of_two_samples() -> None:
    """Rows that are the strata: (1 − w)² v/n of its own, and w'² v'/n' of every other."""
    chi, _ = made()
    sets = np.repeat(np.arange(3)[:, None] == STRATA, CONTEXT, axis=1)
    got, x = found(chi, sets), scaled(chi, Scaling.STANDARDISED)
    means = x.reshape(NUM_SEQUENCES, CONTEXT, -1).mean(axis=1)
    share = np.bincount(STRATA) / NUM_SEQUENCES
    for row in range(3):
        expected = sum(
            ((row == h) - share[h]) ** 2
            * means[h == STRATA].var(axis=0, ddof=1)
            / (h == STRATA).sum()
            for h in range(3)
        )
        np.testing.assert_allclose(got.error_RH[row] ** 2, expected, rtol=1e-9)


def test_raw_shift_is_the_difference_of_means() -> None:
    chi, sets = made()
    got = found(chi, sets, Scaling.RAW)
    expected = chi[sets[0]].mean(axis=0, dtype=float) - chi.mean(axis=0, dtype=float)
    np.testing.assert_allclose(got.mean_RH[0], expected, rtol=1e-8)
    standard = found(chi, sets)
    np.testing.assert_allclose(standard.mean_RH * standard.scale.deviation_H, got.mean_RH, 1e-8)


def test_errors_say_how_far_other_text_would_differ() -> None:
    """Over 200 texts of the same mixture, shifts vary as much as their standard errors say."""
    got = [found(*made(seed), Scaling.RAW) for seed in range(200)]
    spread = np.std([each.mean_RH[0] for each in got], axis=0)
    expected = np.sqrt(np.mean([each.error_RH[0] ** 2 for each in got], axis=0))
    # The deviation of 200 draws is known to about 5 %; three of those.
    np.testing.assert_allclose(expected / spread, 1.0, atol=0.15)


def test_how_it_is_cut_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    chi, sets = made()
    whole = found(chi, sets)
    monkeypatch.setattr(module, "TOKENS_AT_ONCE", 7)
    cut = found(chi, sets, cuts=(1, 2, 11))
    np.testing.assert_allclose(cut.mean_RH, whole.mean_RH, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(cut.error_RH, whole.error_RH, rtol=1e-10)


@pytest.mark.parametrize("scaling", Scaling)
def test_a_constant_column_is_zero_and_no_part_of_the_mean_of_a_row(scaling: Scaling) -> None:
    """The others are as if it were not there: a dead head is no mirror of the uniform mode."""
    chi, sets = made()
    chi[:, 1] = 7.0
    got, others = found(chi, sets, scaling), [0, 2, 3]
    assert (got.mean_RH[:, 1] == 0.0).all() and (got.error_RH[:, 1] == 0.0).all()
    x = scaled(chi[:, others], scaling)
    for row, members in enumerate(sets):
        expected = x[members].mean(axis=0)
        np.testing.assert_allclose(got.mean_RH[row, others], expected, rtol=1e-9, atol=1e-9)
    expected = errors_by_loop(x, sets, STRATA)
    np.testing.assert_allclose(got.error_RH[:, others], expected, rtol=1e-9)


def test_a_column_that_varies_by_rounding_is_constant() -> None:
    """As for the clusters: half of the tokens lie one float32 higher."""
    chi, sets = made()
    chi[:, 1] = 7.0
    exact = found(chi, sets, Scaling.CENTRED)
    chi[::2, 1] = np.nextafter(np.float32(7), np.float32(8))
    got = found(chi, sets, Scaling.CENTRED)
    assert got.scale.deviation_H[1] == 0.0 and (got.mean_RH[:, 1] == 0.0).all()
    np.testing.assert_array_equal(got.mean_RH, exact.mean_RH)
    nothing = found(np.full_like(chi, 7.0), sets, Scaling.CENTRED)
    assert (nothing.mean_RH == 0.0).all() and (nothing.error_RH == 0.0).all()


@pytest.mark.parametrize("scaling", Scaling)
@pytest.mark.parametrize("seed", range(4))
def test_the_set_of_all_tokens_responds_with_nothing_at_all(scaling: Scaling, seed: int) -> None:
    """Nor is it many errors from nothing, by rounding."""
    chi, _ = made(seed)
    everyone = np.ones((1, len(chi)), bool)
    for strata in (STRATA, np.zeros_like(STRATA)):
        got = found(chi, everyone, scaling, strata=strata)
        assert (got.mean_RH == 0.0).all() and (got.error_RH == 0.0).all()
    almost = everyone.copy()
    almost[0, 5] = False
    got = found(chi, almost, scaling)
    assert (got.mean_RH != 0.0).all() and (got.error_RH > 0.0).all()


def test_a_response_without_error_is_not_taken_for_rounding() -> None:
    """Every sequence has the same tokens: the shift is known exactly, and is not zero."""
    one = np.array([1.0, -1.0] * (CONTEXT // 2), np.float32)
    chi = np.repeat(np.tile(one, NUM_SEQUENCES)[:, None], 4, axis=1)
    got = found(chi, (chi[:, 0] > 0)[None], Scaling.RAW)
    assert (got.mean_RH == 1.0).all() and (got.error_RH == 0.0).all()


def test_an_empty_set_a_token_that_is_not_finite() -> None:
    chi, sets = made()
    sets[1] = False
    got = found(chi, sets)
    assert np.isnan(got.mean_RH[1]).all() and np.isnan(got.error_RH[1]).all()
    broken = chi.copy()
    broken[5, 0] = np.nan
    without = found(broken, sets)
    assert without.num_tokens_R[0] == sets[0].sum() - sets[0, 5]
    assert np.isfinite(without.mean_RH[0]).all()


def test_a_subset_of_one_sequence_has_no_error() -> None:
    chi, sets = made()
    strata = np.where(np.arange(NUM_SEQUENCES) == 3, 2, STRATA.clip(0, 1))
    rows = np.stack([sets[0], np.repeat(strata == 0, CONTEXT)])
    rows[0, 3 * CONTEXT] = True
    got = found(chi, rows, strata=strata)
    assert np.isnan(got.error_RH[0]).all() and np.isfinite(got.error_RH[1]).all()


def test_one_token_one_component() -> None:
    one = TokenBlock(
        chi_NH=np.array([[2.0]], np.float32), first_token_id=0, stratum_S=np.array([0]),
        row_M=np.array([0]), token_M=np.array([0]),
    )  # fmt: skip
    got = response_matrix(lambda: [one], ("all",), ("embed",), num_strata=1)
    assert got.mean_RH.tolist() == [[0.0]] and np.isnan(got.error_RH).all()
    assert got.rows([]).mean_RH.shape == (0, 1) and got.rows([0]).names == ("all",)


def test_refusals() -> None:
    chi, sets = made()
    with pytest.raises(ValueError, match="found 4 columns for 2 components"):
        response_matrix(blocks(chi, sets), NAMES, ("a", "b"), num_strata=3)
    with pytest.raises(ValueError, match="at least one block"):
        response_matrix(lambda: [], NAMES, COMPONENTS, num_strata=3)
    with pytest.raises(ValueError, match="at least one block"):
        moments_of(lambda: [])
    with pytest.raises(ValueError, match=r"100,000 rows × 13 .* max_rows=(\d+)") as error:
        require_fits(100_000, 13, 410)
    assert "\n" not in str(error.value)
    fits = int(str(error.value).split("max_rows=")[1].split()[0])
    require_fits(fits, 13, 410)
    with pytest.raises(ValueError, match="GB"):
        require_fits(fits + 1, 13, 410)
    with pytest.raises(ValueError, match="found none beside 120 that are not finite"):
        found(np.full_like(chi, np.nan), sets)
    (block,) = blocks(chi, sets)()
    with pytest.raises(ValueError, match="whole sequences"):
        dataclasses.replace(block, chi_NH=chi[:-1])
    scale = ResponseScale.of(moments_of(blocks(chi, sets)), Scaling.RAW)
    with pytest.raises(ValueError, match=r"shape \[N, 4\], found \(3, 2\)"):
        scale.apply(np.zeros((3, 2)))


def test_the_interval_counts_the_sequences_that_have_the_set() -> None:
    """Student's t with the sequences of the set less their strata, whatever the run has."""
    chi, _ = made()
    sets = np.zeros((3, CONTEXT * NUM_SEQUENCES), bool)
    sets[0, [0, 1, CONTEXT, 10 * CONTEXT, 11 * CONTEXT]] = True  # two of stratum 0, two of 1
    sets[1] = True
    sets[2, 3 * CONTEXT : 3 * CONTEXT + 4] = True  # one sequence: its residuals add up to 0
    got = found(chi, sets)
    assert got.num_sequences_R.tolist() == [4, NUM_SEQUENCES, 1]
    assert got.degrees_R.tolist() == [2, NUM_SEQUENCES - 3, 0]
    np.testing.assert_allclose(got.half_width_RH[0], stats.t.ppf(0.975, 2) * got.error_RH[0])
    assert (got.half_width_RH[1] == 0).all()  # all tokens: no shift, and no error
    assert np.isnan(got.error_RH[2]).all() and np.isnan(got.half_width_RH[2]).all()
    assert got.rows([2, 0]).num_sequences_R.tolist() == [1, 4]
    cut = found(chi, sets, cuts=(4, 11))
    assert cut.num_sequences_R.tolist() == [4, NUM_SEQUENCES, 1]


def test_intervals_of_a_set_in_few_sequences_cover_the_truth() -> None:
    """A set in 4 of 60 sequences, which differ: 95 % within three binomial deviations of the share.

    With 1.96 standard errors, or the t of all 60 sequences, it is about 85 %.
    """
    num, tokens, few, repeats, shift = 60, 2, 4, 600, 2.0
    rng = np.random.default_rng(0)
    errors = np.empty((repeats, 2))
    own = np.zeros((num, CONTEXT), bool)
    own[:few, :tokens] = True
    truth = shift * (1 - own.mean())
    for repeat in range(repeats):
        x = rng.normal(size=(num, 1)) + rng.normal(size=(num, CONTEXT)) + shift * own
        got = response_matrix(
            blocks(x.reshape(-1, 1), own.reshape(1, -1), strata=np.zeros(num, np.int64)),
            ("few",), ("embed",), Scaling.RAW, num_strata=1,
        )  # fmt: skip
        off = abs(got.mean_RH[0, 0] - truth)
        errors[repeat] = off / got.half_width_RH[0, 0], off / got.error_RH[0, 0]
    tolerance = 3 * np.sqrt(0.95 * 0.05 / repeats)
    assert abs(np.mean(errors[:, 0] <= 1) - 0.95) <= tolerance
    assert np.mean(errors[:, 1] <= stats.t.ppf(0.975, num - 1)) < 0.95 - tolerance
