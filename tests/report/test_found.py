"""Kinds of token that a reader knows, found again in planted responses."""

from __future__ import annotations

import math

import made_up_run
import numpy as np
import pytest
from stored_run import data_of, write_found, write_run

from spectro.analysis.known_kinds import KINDS, Sample, find, neighbour_auc
from spectro.analysis.patterns import Traits, pattern_types
from spectro.clustering.config import ClusterConfig
from spectro.views.page.known_kinds_sample import found_sample
from spectro.views.run_view import RunView

VOCABULARY = [b"1", b"22", b" a", b"b", b"(", b'"', b"\n", b"  "]
DIGITS = (0, 1)
NUM_SEQUENCES, CONTEXT = 100, 40
DISTANCE = 1.5


@pytest.fixture(scope="module")
def sample() -> Sample:
    """Column `digits` is one higher by DISTANCE standard deviations at digits, the other noise."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, len(VOCABULARY), (NUM_SEQUENCES, CONTEXT + 1))
    is_digit = np.isin(ids[:, 1:], DIGITS).reshape(-1)
    chi = rng.standard_normal((is_digit.size, 2))
    chi[:, 1] += DISTANCE * is_digit
    digits, others = np.flatnonzero(is_digit), np.flatnonzero(~is_digit)
    members = [digits[:30], np.r_[digits[30:40], others[:10]], np.r_[digits[40], others[10:20]]]
    return Sample(
        ids_ST1=ids,
        loss_N=rng.random(is_digit.size),
        chi_NH=chi,
        seen_ND=chi,
        components=("noise", "digits"),
        token_M=np.concatenate(members),
        cluster_M=np.repeat(np.arange(3), [m.size for m in members]),
    )


def test_a_planted_kind_has_the_auc_of_its_distance(sample: Sample) -> None:
    found = {kind.name: kind for kind in find(sample, Traits.of(VOCABULARY))}
    expected = 0.5 * (1 + math.erf(DISTANCE / 2))  # Φ(d/√2), of the column alone
    # the standard error of an AUC from 1000 and 3000 tokens is 0.009; 20 neighbours cost a little
    assert found["digits"].components[0] == ("digits", pytest.approx(expected, abs=0.03))
    assert expected - 0.07 < found["digits"].auc < expected + 0.03
    assert found["digits"].auc_of_loss == pytest.approx(0.5, abs=0.04)
    assert found["digits"].num_tokens == np.isin(sample.ids_ST1[:, 1:], DIGITS).sum()


def test_clusters_of_a_kind_hold_its_tokens(sample: Sample) -> None:
    traits = Traits.of(VOCABULARY)
    digits = next(kind for kind in find(sample, traits) if kind.name == "digits")
    assert digits.clusters == ((0, 1.0), (1, 0.5)) and digits.num_clusters == 2
    assert digits.held == pytest.approx(40 / digits.num_tokens)


def test_clusters_of_few_sampled_members_are_not_judged(sample: Sample) -> None:
    """The last of 30, 20 and 11 members loses two: 9 are too few, and all of them are digits."""
    traits, keep = Traits.of(VOCABULARY), np.arange(59)
    is_digit = np.isin(sample.ids_ST1[:, 1:], DIGITS).reshape(-1)
    token_M = np.r_[sample.token_M[:50], np.flatnonzero(is_digit)[50:59]]
    few = Sample(**(vars(sample) | {"token_M": token_M, "cluster_M": sample.cluster_M[keep]}))
    digits = next(kind for kind in find(few, traits) if kind.name == "digits")
    assert [cluster for cluster, _ in digits.clusters] == [0, 1]
    none = Sample(**(vars(few) | {"token_M": token_M[50:], "cluster_M": np.zeros(9, int)}))
    digits = next(kind for kind in find(none, traits) if kind.name == "digits")
    assert digits.clusters == () and np.isnan(digits.held)


def test_a_sequence_does_not_vouch_for_itself() -> None:
    """Every sequence has a place of its own in χ and one kind of token: its own would give 1."""
    rng = np.random.default_rng(1)
    sequence = np.repeat(np.arange(60), 30)
    chi = 100 * rng.standard_normal((60, 5))[sequence] + rng.standard_normal((1800, 5))
    is_kind = (rng.random(60) < 0.5)[sequence]
    both = np.stack([is_kind, chi[:, 0] > 0], axis=1)
    auc = neighbour_auc(chi, both, sequence)
    assert auc[0] == pytest.approx(0.5, abs=0.25), "60 sequences: a standard error of 0.07"
    assert auc[1] > 0.85, "what χ does say is known across sequences"
    assert np.isnan(neighbour_auc(chi, np.zeros((1800, 1), bool), sequence)).all()
    assert np.isnan(neighbour_auc(chi, both, np.zeros(1800))).all(), "one sequence"


def test_a_kind_that_is_too_rare_is_not_judged(sample: Sample) -> None:
    kinds = {kind.name: kind for kind in find(sample, Traits.of(VOCABULARY))}
    assert np.isnan(kinds["word parts"].auc) == (kinds["word parts"].num_tokens < 50)
    few = Sample(**(vars(sample) | {"ids_ST1": np.zeros_like(sample.ids_ST1)}))  # all are digits
    digits = next(kind for kind in find(few, Traits.of(VOCABULARY)) if kind.name == "digits")
    assert np.isnan(digits.auc) and digits.components == ()
    assert digits.num_tokens == NUM_SEQUENCES * CONTEXT


def test_ids_of_another_vocabulary_are_refused(sample: Sample) -> None:
    with pytest.raises(ValueError, match="expected token ids below 3, found 7"):
        find(sample, Traits.of(VOCABULARY[:3]))


def test_kinds_are_the_patterns_of_the_matrix(sample: Sample) -> None:
    traits = Traits.of(VOCABULARY)
    types = pattern_types(traits, sample.ids_ST1)
    assert np.array_equal(KINDS["induction"][1](traits, sample.ids_ST1), types[..., 2])
    layout = KINDS["line breaks and indentation"][1](traits, sample.ids_ST1)
    assert np.array_equal(layout, np.isin(sample.ids_ST1[:, 1:], (6, 7)))


def test_a_sample_of_a_stored_run(tmp_path, monkeypatch) -> None:
    what = made_up_run.made(num_sequences=16, context=16, num_clusters=4)
    store = write_run(tmp_path / "run", what)  # shards of 5, 5, 5 and 1 sequences
    monkeypatch.setattr("spectro.views.page.known_kinds_sample.MAX_TOKENS", 8 * 16)
    found = found_sample(RunView(f"{store.uri}/clusters"))
    sequences = np.array([0, 1, 5, 6, 10, 11, 15])
    assert np.array_equal(found.ids_ST1, what.probe.ids_ST1[sequences])
    tokens = (sequences[:, None] * 16 + np.arange(16)).reshape(-1)
    assert np.allclose(found.loss_N, what.loss_N[tokens])
    label = np.full(tokens.size, -1)
    label[found.token_M] = found.cluster_M
    assert np.array_equal(label, what.label_N[tokens])


def test_a_sample_of_a_two_chain_run_with_columns_left_out(tmp_path) -> None:
    """Columns by themselves, all of them: without E[φ]·B, standardised over the run."""
    what = made_up_run.made(num_sequences=16, context=16, num_clusters=4)
    store, phi_H = write_run(tmp_path / "run", what), what.columns.mean_phi_H
    config = ClusterConfig(min_reliability=0.7)
    write_found(store, what, what.columns, what.label_N, "clusters-own", config, phi_H)
    found = found_sample(RunView(f"{store.uri}/clusters-own"))
    own_NH = what.chi_NH - what.loss_N[:, None] * phi_H
    expected_NH = (own_NH - own_NH.mean(0)) / own_NH.std(0)
    assert found.seen_ND.shape[1] < len(what.names) == found.chi_NH.shape[1]
    # χ and B are float32 of at most about 100 deviations
    np.testing.assert_allclose(found.chi_NH, expected_NH, atol=100 * 2**-22)


def test_the_page_says_what_was_found(tmp_path) -> None:
    what = made_up_run.made(num_sequences=16, context=16, num_clusters=4)
    report = data_of(write_run(tmp_path / "run", what), what)[0].report
    assert [kind["name"] for kind in report["found"]] == list(KINDS)
