"""Estimator, error bars and merging against slow, obvious references on full traces."""

from __future__ import annotations

import dataclasses
from functools import reduce

import numpy as np
import pytest

from spectro.susceptibility.estimator import (
    Baseline,
    ChainSums,
    EstimatorConfig,
    EstimatorKind,
)
from spectro.susceptibility.reliability import (
    MAX_SPLITS,
    centred_reliability,
    estimate_column,
    estimate_response,
    first_halves,
    gelman_rubin,
    merge,
    reliability,
    splits,
    standard_deviation,
    standard_error,
)

TOKENS, CHAINS, DRAWS = 40, 4, 30


def traces(seed: int = 0, tokens: int = TOKENS) -> dict[str, np.ndarray]:
    """Full traces Δℓ [C, T, N] and ΔL [C, T], correlated as a model's would be."""
    stream = np.random.default_rng(seed)
    loading = stream.normal(size=tokens)
    made = {}
    for name, strength in (("c", 1.0), ("full", 3.0)):
        common = strength * stream.gamma(4, size=(CHAINS, DRAWS))
        noise = 0.3 * stream.normal(size=(CHAINS, DRAWS, tokens))
        made[name] = common[..., None] * (1 + loading) + noise
        made[f"{name}_loss"] = common + 0.1 * stream.normal(size=(CHAINS, DRAWS))
    return made


def sums(made: dict[str, np.ndarray], name: str, tokens: slice = slice(None)) -> ChainSums:
    delta, loss = made[name][..., tokens], made[f"{name}_loss"]
    return ChainSums(
        weighted_CN=(loss[..., None] * delta).sum(1),
        plain_CN=delta.sum(1),
        delta_loss=list(loss),
        weight=[np.ones(len(trace)) for trace in loss],
    )


def reference(
    made: dict[str, np.ndarray], chains: list[int], offset: float = 0.0, kind: str = "two_chain"
) -> np.ndarray:
    """design §1, term by term from the traces."""
    delta, loss = made["c"][chains], made["c_loss"][chains]
    other, other_loss = (
        (made["full"][chains], made["full_loss"][chains]) if kind == "two_chain" else (delta, loss)
    )
    phi = loss + offset
    first = np.mean(phi[..., None] * (delta - loss[..., None]), axis=(0, 1))
    if kind == "restricted":
        return -first
    second = phi.mean() * np.mean(other - other_loss[..., None], axis=(0, 1))
    return -first + second


@pytest.mark.parametrize("kind", list(EstimatorKind))
@pytest.mark.parametrize("offset", [0.0, 0.7])
def test_running_sums_give_the_equation(kind: EstimatorKind, offset: float) -> None:
    made = traces()
    column = estimate_column(sums(made, "c"), sums(made, "full"), kind, phi_offset=offset)
    expected = reference(made, list(range(CHAINS)), offset, kind.value)
    np.testing.assert_allclose(column.chi_N, expected, rtol=1e-10, atol=1e-10)


def test_restricted_is_two_chain_less_the_shared_term() -> None:
    made = traces()
    own = estimate_column(sums(made, "c"), None, EstimatorKind.RESTRICTED)
    whole = estimate_column(sums(made, "c"), sums(made, "full"), EstimatorKind.TWO_CHAIN)
    shared = made["c_loss"].mean() * (made["full"] - made["full_loss"][..., None]).mean((0, 1))
    np.testing.assert_allclose(own.chi_N, whole.chi_N - shared, rtol=1e-9, atol=1e-9)


def test_the_response_and_its_halves_are_those_that_two_chain_has() -> None:
    """χ of two_chain less E[φ]·B is restricted, for all chains and for either half of them."""
    made = traces()
    made["c_loss"][:, ::3] *= 2  # halves whose E[φ] differ
    component, full = sums(made, "c"), sums(made, "full")
    both = estimate_column(component, full, EstimatorKind.TWO_CHAIN)
    own = estimate_column(component, None, EstimatorKind.RESTRICTED)
    response = estimate_response(full)
    phi = component.of_chains(range(CHAINS)).delta_loss
    left_N = both.chi_N - phi * response.chi_N
    np.testing.assert_allclose(left_N, own.chi_N, rtol=1e-10, atol=1e-10)
    for split, chains in enumerate(splits(CHAINS)):
        for half, some in enumerate(chains):
            of_half = component.of_chains(some).delta_loss
            left_N = both.halves_P2N[split, half] - of_half * response.halves_P2N[split, half]
            expected = own.halves_P2N[split, half]
            np.testing.assert_allclose(left_N, expected, rtol=1e-10, atol=1e-10)
    direct = made["full"].mean(axis=1) - made["full_loss"].mean(axis=1)[:, None]
    np.testing.assert_allclose(response.chi_N, direct.mean(axis=0), rtol=1e-10)
    error = direct.std(axis=0, ddof=1) / np.sqrt(CHAINS)  # the jackknife of a mean
    np.testing.assert_allclose(response.standard_error_N, error, rtol=1e-10)
    r = [
        np.corrcoef(direct[list(a)].mean(0), direct[list(b)].mean(0))[0, 1]
        for a, b in splits(CHAINS)
    ]
    assert reliability(response.moments) == pytest.approx(np.mean(r), rel=1e-10)


def test_one_chain_is_numpys_covariance() -> None:
    made = traces()
    column = estimate_column(sums(made, "c"), None, EstimatorKind.ONE_CHAIN)
    loss, delta = made["c_loss"].ravel(), made["c"].reshape(-1, TOKENS)
    for token in range(TOKENS):
        expected = -np.cov(loss, delta[:, token] - loss, ddof=0)[0, 1]
        assert column.chi_N[token] == pytest.approx(expected, rel=1e-9)


def test_weights_and_chains_of_unequal_length_give_weighted_means() -> None:
    """A draw of weight k counts as k equal draws."""
    made, stream = traces(), np.random.default_rng(1)
    weight = stream.integers(0, 4, size=(CHAINS, DRAWS))
    lengths = [DRAWS, DRAWS - 3, 5, DRAWS]
    delta = [made["c"][c, :n] for c, n in enumerate(lengths)]
    loss = [made["c_loss"][c, :n] for c, n in enumerate(lengths)]
    omega = [weight[c, :n].astype(float) for c, n in enumerate(lengths)]
    own = ChainSums(
        weighted_CN=np.stack([(w * x) @ d for w, x, d in zip(omega, loss, delta, strict=True)]),
        plain_CN=np.stack([w @ d for w, d in zip(omega, delta, strict=True)]),
        delta_loss=loss,
        weight=omega,
    )
    column = estimate_column(own, None, EstimatorKind.ONE_CHAIN)
    counts = np.concatenate(omega).astype(int)
    repeated = np.repeat(np.concatenate(delta), counts, axis=0)
    phi = np.repeat(np.concatenate(loss), counts)
    expected = -np.mean((phi - phi.mean())[:, None] * (repeated - phi[:, None]), axis=0)
    np.testing.assert_allclose(column.chi_N, expected, rtol=1e-9, atol=1e-12)


def test_standard_error_is_the_delete_one_chain_jackknife() -> None:
    made = traces()
    column = estimate_column(sums(made, "c"), sums(made, "full"), EstimatorKind.TWO_CHAIN)
    left = np.stack(
        [reference(made, [c for c in range(CHAINS) if c != out]) for out in range(CHAINS)]
    )
    expected = np.sqrt((CHAINS - 1) / CHAINS * ((left - left.mean(0)) ** 2).sum(0))
    np.testing.assert_allclose(column.standard_error_N, expected, rtol=1e-8)


def test_reliability_is_the_correlation_of_disjoint_halves() -> None:
    made = traces()
    column = estimate_column(sums(made, "c"), sums(made, "full"), EstimatorKind.TWO_CHAIN)
    halves = [([0, 1], [2, 3]), ([0, 2], [1, 3]), ([0, 3], [1, 2])]
    expected = np.mean(
        [np.corrcoef(reference(made, a), reference(made, b))[0, 1] for a, b in halves]
    )
    assert reliability(column.moments) == pytest.approx(expected, rel=1e-9)


def test_centred_reliability_is_that_of_standardised_row_centred_halves() -> None:
    columns = [
        estimate_column(sums(made, "c"), sums(made, "full"), EstimatorKind.TWO_CHAIN)
        for made in (traces(seed) for seed in range(5))
    ]
    found = centred_reliability(columns)
    for_column = np.zeros((5, 3))
    for split in range(3):
        halves = []
        for half in range(2):
            chi = np.stack([c.halves_P2N[split, half] for c in columns], axis=-1)
            chi = (chi - chi.mean(0)) / chi.std(0)
            halves.append(chi - chi.mean(1, keepdims=True))
        for h in range(5):
            for_column[h, split] = np.corrcoef(halves[0][:, h], halves[1][:, h])[0, 1]
    np.testing.assert_allclose(found, for_column.mean(1), rtol=1e-9)


def test_a_shared_mode_makes_columns_reliable_but_not_what_clusters_see() -> None:
    """Columns that are one mode plus independent noise: raw halves agree, centred ones do not."""
    stream, columns = np.random.default_rng(0), []
    mode = stream.normal(size=4000)
    for _ in range(8):
        halves = mode + 0.3 * stream.normal(size=(3, 2, 4000))
        made = traces(0)
        column = estimate_column(sums(made, "c"), sums(made, "full"), EstimatorKind.TWO_CHAIN)
        columns.append(dataclasses.replace(column, halves_P2N=halves))
        assert np.corrcoef(halves[0])[0, 1] > 0.9
    assert (np.abs(centred_reliability(columns)) < 0.1).all()


def test_moments_merge_across_any_shards() -> None:
    made = traces()
    whole = estimate_column(sums(made, "c"), sums(made, "full"), EstimatorKind.TWO_CHAIN).moments
    cuts = [slice(0, 1), slice(1, 7), slice(7, 40)]
    parts = [
        estimate_column(
            sums(made, "c", cut), sums(made, "full", cut), EstimatorKind.TWO_CHAIN
        ).moments
        for cut in cuts
    ]
    for order in (parts, parts[::-1]):
        merged = reduce(merge, order)
        assert merged.num_tokens == TOKENS
        assert reliability(merged) == pytest.approx(reliability(whole), rel=1e-10)
        assert standard_error(merged) == pytest.approx(standard_error(whole), rel=1e-10)
        assert standard_deviation(merged) == pytest.approx(standard_deviation(whole), rel=1e-10)


def test_splits_are_disjoint_halves_each_once() -> None:
    assert splits(1) == []
    assert splits(2) == [((0,), (1,))]
    assert len(splits(3)) == 3
    assert len(splits(4)) == 3
    assert len(splits(6)) == 10
    assert len(splits(20)) == MAX_SPLITS
    for first, second in splits(7):
        assert len(first) == len(second) == 3
        assert not set(first) & set(second)


@pytest.mark.parametrize("kind", list(EstimatorKind))
@pytest.mark.parametrize("offset", [0.0, 0.7])
def test_halves_average_to_chi_but_for_a_product_of_two_expectations(
    kind: EstimatorKind, offset: float
) -> None:
    """The first half is of chains 0 and 1, the second of 2 and 3; the equation of first_halves."""
    made = traces()
    column = estimate_column(sums(made, "c"), sums(made, "full"), kind, phi_offset=offset)
    halves = first_halves([column, column])
    assert halves is not None
    for found, chains in zip(halves, ([0, 1], [2, 3]), strict=True):
        expected = reference(made, chains, offset, kind.value)
        np.testing.assert_allclose(found, np.stack([expected] * 2, -1), rtol=1e-10, atol=1e-10)
    name = "full" if kind is EstimatorKind.TWO_CHAIN else "c"
    response_CN = (made[name] - made[f"{name}_loss"][..., None]).mean(1)
    shift_N = response_CN[:2].mean(0) - response_CN[2:].mean(0)
    phi = made["c_loss"][:2].mean() - made["c_loss"][2:].mean()
    product_N = phi * shift_N / 4
    assert np.abs(product_N).max() > 1e-3
    if kind is EstimatorKind.RESTRICTED:  # linear in the chains
        product_N = np.zeros_like(product_N)
    average_N = (halves[0] + halves[1])[:, 0] / 2
    np.testing.assert_allclose(average_N - column.chi_N, product_N, rtol=1e-9, atol=1e-10)


def test_halves_average_to_chi_exactly_where_they_agree_on_phi() -> None:
    made = traces()
    made["c_loss"] -= made["c_loss"].mean(1, keepdims=True) - 0.3  # E[φ] = 0.3 in every chain
    column = estimate_column(sums(made, "c"), sums(made, "full"), EstimatorKind.TWO_CHAIN)
    first, second = first_halves([column]) or ()
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_allclose((first + second)[:, 0] / 2, column.chi_N, rtol=1e-10, atol=1e-10)


def test_one_chain_has_no_halves_and_an_odd_one_is_in_neither() -> None:
    made = traces()
    one = {key: value[:1] for key, value in made.items()}
    three = {key: value[:3] for key, value in made.items()}
    full = EstimatorKind.TWO_CHAIN
    assert first_halves([estimate_column(sums(one, "c"), sums(one, "full"), full)]) is None
    halves = first_halves([estimate_column(sums(three, "c"), sums(three, "full"), full)]) or ()
    for chain, found in enumerate(halves):
        np.testing.assert_allclose(found[:, 0], reference(made, [chain]), rtol=1e-10, atol=1e-10)


def test_degenerate_columns_have_no_reliability_rather_than_a_wrong_one() -> None:
    made = traces()
    single = {name: value[:1] for name, value in made.items()}
    column = estimate_column(sums(single, "c"), sums(single, "full"), EstimatorKind.TWO_CHAIN)
    assert np.isnan(reliability(column.moments))
    assert np.isnan(standard_error(column.moments))
    assert np.isnan(centred_reliability([column, column])).all()
    one_token = estimate_column(
        sums(made, "c", slice(0, 1)), sums(made, "full", slice(0, 1)), EstimatorKind.TWO_CHAIN
    )
    assert np.isnan(reliability(one_token.moments))


def test_rhat_is_near_one_for_agreeing_chains_and_large_otherwise() -> None:
    agreeing = np.random.default_rng(0).normal(size=(4, 500))
    assert abs(gelman_rubin(list(agreeing)) - 1) < 0.02
    assert abs(gelman_rubin([*agreeing, agreeing[0, :300]]) - 1) < 0.02  # unequal lengths
    assert gelman_rubin(list(agreeing + np.arange(4)[:, None])) > 1.5
    assert np.isnan(gelman_rubin(list(agreeing[:1])))
    assert np.isnan(gelman_rubin(list(np.ones((3, 5)))))


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="num_baseline_batches must be at least 1"):
        EstimatorConfig(num_baseline_batches=0)


def test_plain_words_are_the_members() -> None:
    """An "unpaired" that is no member must not pass for paired."""
    config = EstimatorConfig(kind="one_chain", baseline="unpaired")
    assert config.kind is EstimatorKind.ONE_CHAIN
    assert config.baseline is Baseline.UNPAIRED
    with pytest.raises(ValueError, match="three_chain"):
        EstimatorConfig(kind="three_chain")
