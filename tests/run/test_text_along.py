"""A text measured along a run's draws gets the run's own χ, and the run is as it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from spectro.config import PipelineConfig
from spectro.formats import chain_records, tokens
from spectro.formats.halves import read_halves
from spectro.formats.product import read_product
from spectro.planning.bill import recorded_seconds
from spectro.sampling.config import ChainConfig
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Gaussian
from spectro.storage.store import Store
from spectro.susceptibility.estimator import Baseline, EstimatorConfig, EstimatorKind
from spectro.tokens.display.context_text import Vocabulary
from spectro.tokens.windows import Windows, windows
from spectro.views.columns import run_columns
from spectro.views.run_view import RunView
from spectro.views.text.cost import cost_of
from spectro.views.text.from_run import document_of_sequence, document_of_text
from spectro.views.text.measured_text import RunDraws
from tests.run.made_texts import measured, of_sequence, require_close, text_of

RunCopy = tuple[Store, PipelineConfig]
MakeConfig = Callable[..., PipelineConfig]
EOT = 256
"""End-of-text of the tests' tokenizer."""


@pytest.mark.parametrize("part", ["", "/control"])
def test_the_text_of_a_sequence_has_the_products_rows(whole_run: PipelineConfig, part: str) -> None:
    view = RunView(whole_run.run.uri + part)
    config = whole_run.as_control() if part else whole_run
    number = _within_a_document(view)
    ids, chi, loss = of_sequence(view, number)
    text = text_of(config, ids)
    made = document_of_text(view, config, text, "a text", components=["*"])
    assert np.array_equal(made.token_N, ids)
    assert made.components == view.components
    require_close(view, made.chi_NC[1:], chi)
    assert made.loss_N[1:] == pytest.approx(loss, abs=1e-5)
    assert np.isnan(made.chi_NC[0]).all() and np.isnan(made.loss_N[0])
    read = document_of_sequence(view, number)
    assert np.array_equal(read.chi_NC[1:], chi) and np.array_equal(read.token_N, ids)
    assert read.piece_N == made.piece_N
    assert made.row_mean_N == pytest.approx(read.row_mean_N, abs=1e-3, nan_ok=True)


def _within_a_document(view: RunView) -> int:
    """The last sequence without end-of-text, which no text can spell."""
    ids_ST1 = tokens.read_split(view.root, "probe").ids_ST1
    return int(np.flatnonzero((ids_ST1 != EOT).all(axis=1))[-1])


def test_what_reads_like_end_of_text_is_text_as_in_the_runs_sources(
    whole_run: PipelineConfig,
) -> None:
    ids = RunDraws(RunView(whole_run.run.uri), whole_run).tokenised("a<|endoftext|>b", "a text")
    assert EOT not in ids
    assert text_of(whole_run, ids) == "a<|endoftext|>b"


def test_in_the_company_of_its_shard_it_is_equal_to_the_last_bit(
    whole_run: PipelineConfig,
) -> None:
    """The same batches, the same draws, one thread: nothing is left to differ."""
    view = RunView(whole_run.run.uri)
    _, sequences = tokens.read_shard(view.root, "probe", 1)
    ids = sequences.ids_ST1.astype(np.int64)
    cut = Windows(ids_nL1=ids, known_nL=np.ones((len(ids), 16), bool))
    found = RunDraws(view, whole_run).measure_windows(cut, view.components)
    product = read_product(view.store)
    own = product.column("sequence_id") >= 3
    assert np.array_equal(found.chi_MC, product.chi_NH[own])
    assert np.array_equal(found.loss_M, product.column("loss")[own])


@pytest.mark.parametrize(
    "change",
    [
        {"sampler": Reweighted(gamma=300.0, nbeta=10.0)},
        {"estimator": EstimatorConfig(kind=EstimatorKind.ONE_CHAIN)},
        {"estimator": EstimatorConfig(baseline=Baseline.UNPAIRED, num_baseline_batches=2)},
    ],
    ids=["from keys", "one_chain", "unpaired"],
)
def test_other_draws_and_estimators(make_config: MakeConfig, change: dict) -> None:
    config = measured(make_config(**change))
    view = RunView(config.run.uri)
    ids, chi, _ = of_sequence(view, 2)
    found = RunDraws(view, config).measure(ids, view.components)
    require_close(view, found.chi_MC, chi)


def test_a_string_is_cleaned_as_the_runs_sources_are(
    whole_run: PipelineConfig, caplog: pytest.LogCaptureFixture
) -> None:
    bank = RunDraws(RunView(whole_run.run.uri), whole_run)
    clean = bank.tokenised("half a \ufffd pair, and a \ufffd zero", "a text")
    assert not caplog.records
    assert np.array_equal(bank.tokenised("half a \ud83d pair, and a \0 zero", "a text"), clean)
    assert "a text: 1 lone surrogates replaced by U+FFFD" in caplog.text


def test_some_components_in_any_order_are_the_same_columns(whole_run: PipelineConfig) -> None:
    view = RunView(whole_run.run.uri)
    bank, (ids, chi, _) = RunDraws(view, whole_run), of_sequence(view, 0)
    names = ("l1mlp", "embed", "l1h0")
    columns = [view.components.index(name) for name in names]
    require_close(view, bank.measure(ids, names).chi_MC, chi[:, columns])


def test_a_longer_text_is_cut_as_the_run_packs_and_a_shorter_one_is_measured_alone(
    whole_run: PipelineConfig,
) -> None:
    view = RunView(whole_run.run.uri)
    bank = RunDraws(view, whole_run)
    ids = tokens.read_split(view.root, "probe").ids_ST1[:3, :-1].reshape(-1)[:43]
    long = bank.measure(ids, ("l1h0",))
    assert long.chi_MC.shape == (42, 1)
    for start, stop in ((0, 16), (16, 32), (32, 42)):
        alone = bank.measure(ids[start : stop + 1], ("l1h0",))
        assert alone.chi_MC.shape == (stop - start, 1)
        require_close(view, alone.chi_MC, long.chi_MC[start:stop])
        assert alone.loss_M == pytest.approx(long.loss_M[start:stop], abs=1e-5)
    two = bank.measure(ids[:2], ("l1h0",))
    require_close(view, two.chi_MC, long.chi_MC[:1])


def test_what_fills_the_last_window_does_not_matter(whole_run: PipelineConfig) -> None:
    bank = RunDraws(RunView(whole_run.run.uri), whole_run)
    cut = windows(np.arange(60, 60 + 21), 16)
    other = cut.ids_nL1.copy()
    other[:, 1:][~cut.known_nL] = 7
    assert (other != cut.ids_nL1).any()
    filled = bank.measure_windows(dataclasses.replace(cut, ids_nL1=other), ("l1h0", "embed"))
    found = bank.measure_windows(cut, ("l1h0", "embed"))
    assert np.array_equal(filled.chi_MC, found.chi_MC)
    assert np.array_equal(filled.error_MC, found.error_MC)


def test_the_error_is_the_jackknife_over_chains(whole_run: PipelineConfig) -> None:
    """Of two chains: half the distance of the estimates of each, which the run keeps as halves."""
    view = RunView(whole_run.run.uri)
    ids, chi, _ = of_sequence(view, 0)
    halves = read_halves(view.store, 0)
    distance = np.abs(halves.chi_first_NH - halves.chi_second_NH)[: len(chi)] / 2
    found = RunDraws(view, whole_run).measure(ids, view.components)
    require_close(view, found.error_MC, distance)
    assert found.num_chains == 2 and (found.error_MC > 0).all()


def test_one_chain_has_no_interval(make_config: MakeConfig) -> None:
    chain = ChainConfig(num_chains=1, num_draws=3, batch_size=2, steps_between_draws=2)
    config = make_config(chain=chain)
    view = RunView(measured(config).run.uri)
    made = document_of_text(view, config, "a text", "a text")
    assert made.error_NC is None and len(made.components) == 3
    assert made.facts[-1] == ("Measured", "along the run's draws, ±: no interval: one chain")
    assert np.isnan(made.columns.reliability_C).all()


def test_the_run_is_not_changed_and_its_cost_is_said_first(
    run_copy: Callable[[], RunCopy],
) -> None:
    store, config = run_copy()  # which has another place than its run.yaml says
    before = store.list()
    told: list[str] = []

    def on_progress(done: float, of: float) -> None:
        told.append(f"{done / of:.3f}")

    document_of_text(
        RunView(store.uri), config, "some text, " * 5, "a text", components=["l1h*"],
        on_cost=told.append, on_progress=on_progress,
    )  # fmt: skip
    assert store.list() == before
    assert told[0].startswith("to measure: 54 tokens in 4 contexts along 18 draws of l1h0, l1h1")
    assert "flop" in told[0] and "the run is not changed" in told[0]
    assert told[-1] == "1.000" and told[1:] == sorted(told[1:])


def test_the_cost_is_that_of_the_runs_tiles(whole_run: PipelineConfig) -> None:
    """As many tokens and all components cost as many flops as the run's tiles, and its time."""
    view = RunView(whole_run.run.uri)
    cost = cost_of(RunDraws(view, whole_run), 6 * 16 + 1, view.components)
    assert (cost.num_tokens, cost.num_windows) == (96, 6)
    assert cost.seconds == pytest.approx(recorded_seconds(view.store)["tiles"], rel=1e-6)


def test_three_best_columns_are_those_of_reliability_times_deviation(
    whole_run: PipelineConfig,
) -> None:
    view = RunView(whole_run.run.uri)
    own, summary = run_columns(view), view.summary
    score = np.array(summary["reliability"]) * np.array(summary["standard_deviation"])
    best = own.best(range(4))
    assert set(best) == set(np.argsort(-score)[:3].tolist()) and list(best) == sorted(best)
    made = document_of_text(view, whole_run, "a text", "a text")
    assert made.components == tuple(own.names[column] for column in best)
    assert made.shown == (0, 1, 2) and made.row_mean_N is None
    assert document_of_sequence(view, 1).shown == best
    asked = document_of_sequence(view, 1, components=["l1h1", "embed"])
    assert asked.components == ("l1h1", "embed") and asked.shown == (0, 1)
    chi = read_product(view.store).chi_NH.astype(float)
    assert own.columns.mean_C == pytest.approx(chi.mean(axis=0), rel=1e-4, abs=1e-9)
    assert own.columns.deviation_C == pytest.approx(chi.std(axis=0), rel=1e-4)


def test_without_a_tokenizer_tokens_are_their_numbers(whole_run: PipelineConfig) -> None:
    view = RunView(whole_run.run.uri)
    assert document_of_sequence(view, 0, known=Vocabulary(pieces=None)).piece_N is None


def test_gaussian_runs_need_no_stored_draws(make_config: MakeConfig) -> None:
    config = measured(make_config(sampler=Gaussian(gamma=300.0)))
    view = RunView(config.run.uri)
    ids, chi, _ = of_sequence(view, 0)
    chain_records.drop_draws(view.store)
    bank = RunDraws(view, config)
    bank.require_draws(view.components)
    require_close(view, bank.measure(ids, view.components).chi_MC, chi)
