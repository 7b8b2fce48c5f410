"""Runs with further observables: stored columns, resumption, queries, refusals."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import spectro
from spectro.config import PipelineConfig, chain_inputs
from spectro.formats import tokens
from spectro.formats.chain_records import read_record
from spectro.formats.product import part_name, read_labels, read_product
from spectro.formats.shard_file import matrix
from spectro.formats.tiles import read_tile
from spectro.measure.resident_model import ResidentModel
from spectro.measure.units import ChainUnit, PilotUnit, TileUnit
from spectro.models.components import all_components, group_components
from spectro.models.components import select_components as select
from spectro.models.load import load_model
from spectro.pipeline.run import Goal, run_pipeline
from spectro.pipeline.stages import STAGES
from spectro.sampling.config import ObservableConfig
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Exponential
from spectro.storage.store import Store
from spectro.tokens.config import MoreConfig
from spectro.views.query.query import Query
from spectro.views.run_view import RunView
from spectro.work.errors import UnitError
from spectro.work.progress import Progress
from tests.conftest import FinishRun
from tests.run.broken_units import in_pieces, nothing

MakeConfig = Callable[..., PipelineConfig]
HERE = "tests.run.test_observables_of_a_run"
OBSERVABLES = {
    "prose": ObservableConfig(subset="prose"),
    "query": ObservableConfig(tokens=(5 * 16 + 3,), split="probe"),
    "accuracy": ObservableConfig(sequences=(0, 2), function=f"{HERE}:accuracy"),
    "spread": ObservableConfig(function=f"{HERE}:spread"),
}
REWEIGHTED = Reweighted(gamma=300.0, nbeta=10.0, min_effective_fraction=0.125)


def accuracy(logits_nTV: Tensor, targets_nT: Tensor) -> Tensor:
    """Probability of the target, of every token."""
    return logits_nTV.softmax(-1).gather(-1, targets_nT[..., None])[..., 0]


def spread(logits_nTV: Tensor, targets_nT: Tensor) -> Tensor:
    """One number of the batch."""
    return logits_nTV.std()


def run(config: PipelineConfig, goal: Goal = Goal.SAMPLE) -> None:
    run_pipeline(config, Progress(), goal=goal)


def columns(store: Store, shard: int = 0) -> dict[str, np.ndarray]:
    """Columns of influence, [N] or [N, H]."""
    names = [
        f"{prefix}influence_{q}{error}"
        for q in OBSERVABLES
        for error in ("", "_error")
        for prefix in ("", "full_")
    ]
    table = read_labels(store, shard, names)
    return {n: np.asarray(table[n]) if "full" in n else matrix(table[n]) for n in names}


def resident_of(config: PipelineConfig) -> dict[str, Tensor]:
    store = Store(config.run.uri)
    return {
        split: torch.from_numpy(tokens.read_split(store, split).ids_ST1).long()
        for split in ("sampling", "evaluation", "probe")
    }


def test_the_run_agrees_with_the_api_and_with_its_control(
    make_config: MakeConfig, finish_run: FinishRun
) -> None:
    """All kinds of observable; the subset is some sequences of the evaluation set."""
    config = make_config(sampler=REWEIGHTED, observables=OBSERVABLES, control=True)
    finish_run(config)
    store, ids = Store(config.run.uri), resident_of(config)
    evaluation = tokens.read_split(store, "evaluation")
    is_prose = evaluation.subset_S == evaluation.subset_names.index("prose")
    prose = ObservableConfig(sequences=tuple(np.flatnonzero(is_prose).tolist()))
    chosen = OBSERVABLES | {"prose": prose}

    def result(sampler: Reweighted | spectro.Gaussian) -> spectro.Result:
        return spectro.susceptibilities(
            load_model(config.model),
            ids["sampling"],
            ids["probe"],
            sampler=sampler,
            components=config.components,
            evaluation_ids=ids["evaluation"],
            num_chains=config.chain.num_chains,
            num_draws=config.chain.num_draws,
            steps_between_draws=config.chain.steps_between_draws,
            num_burnin_steps=config.chain.num_burnin_steps,
            batch_size=config.chain.batch_size,
            observables=chosen,
            seed=config.seed,
        )

    for part, found in (("", result(REWEIGHTED)), ("control", result(REWEIGHTED.at(0.0)))):
        stored = columns(store.child(part))
        summary = json.loads(store.child(part).read("assembly/summary.json"))["observables"]
        for q in OBSERVABLES:
            for key, values in found.summary["observables"][q].items():
                assert np.allclose(summary[q][key], values, rtol=1e-3, atol=1e-6), (part, q, key)
        assert_means(store.child(part), summary)
        assert found.observables == tuple(OBSERVABLES)
        for name, values in stored.items():
            expected = found.columns[name].reshape(-1, *values.shape[1:])[: len(values)]
            assert np.abs(values - expected).max() < 5e-4 * expected.std(), (part, name)
            assert (values != 0).any()
    with pytest.raises(ValueError, match="no observable 'loss' was measured; there are: prose"):
        found.influence("loss")


def assert_means(store: Store, summary: dict[str, dict[str, list[float]]]) -> None:
    """Mean and jackknife error of every observable, from what the chains of `l1h0` recorded."""
    chains = [read_record(store, "l1", chain).components["l1h0"] for chain in (0, 1)]
    for q, found in summary.items():
        means = [np.average(chain.observables[q], weights=chain.weight) for chain in chains]
        share = np.array([chain.weight.sum() for chain in chains])
        assert found["mean"][1] == pytest.approx(means @ share / share.sum())
        assert found["error"][1] == pytest.approx(abs(means[0] - means[1]) / 2)


def test_chi_and_a_run_without_observables_know_nothing_of_them(
    make_config: MakeConfig, finish_run: FinishRun
) -> None:
    """χ beside observables is that without them, but for roundings; a run without names none."""
    plain, observed = (
        make_config(tmp, sampler=REWEIGHTED, observables=chosen)
        for tmp, chosen in ((None, {}), (str(make_config().run.uri) + "-more", OBSERVABLES))
    )
    finish_run(plain)
    finish_run(observed)
    mine, theirs = (read_product(Store(config.run.uri)) for config in (plain, observed))
    assert np.allclose(mine.chi_NH, theirs.chi_NH, rtol=0, atol=1e-5 * mine.chi_NH.std())
    store = Store(plain.run.uri)
    assert "observables" not in plain.inputs()
    assert b"observable" not in store.read("chains/l1/0.json")
    assert b"influence" not in store.read(part_name(0))


@pytest.mark.parametrize(
    "sampler", [REWEIGHTED, Exponential(gamma=300.0, nbeta=10.0, step_size=1e-3)]
)
def test_broken_off_units_go_on_with_the_same_bits(
    make_config: MakeConfig, tmp_path, sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spectro.models.cost.memory.CPU_ROWS", 5 * 16)
    group = group_components(select(["l1*"], all_components(2, 2)))[0]
    found = []
    for name, after in (("whole", 10**9), ("broken", 1)):
        config = make_config(tmp_path / name, sampler=sampler, observables=OBSERVABLES)
        run(config, Goal.TOKENS)
        resident = ResidentModel(config)
        STAGES.execute(PilotUnit(group=group), resident, nothing)
        units = (ChainUnit(group=group, chains=(0, 1)), TileUnit(group=group, shard=0))
        breaks = sum(in_pieces(unit, resident, after) for unit in units)
        assert (breaks > 4) == (name == "broken")
        sums, _ = read_tile(resident.root, 0, "l1")
        record = read_record(resident.root, "l1", 1).components
        found.append(
            {(n, q): own.tobytes() for n, tile in sums.items() for q, own in tile.observed.items()}
            | {
                (n, q, 1): o.tobytes()
                for n, own in record.items()
                for q, o in own.observables.items()
            }
        )
    assert found[0] == found[1]


def test_queries_of_the_influence(make_config: MakeConfig, finish_run: FinishRun) -> None:
    config = make_config(sampler=REWEIGHTED, observables=OBSERVABLES, control=True)
    finish_run(config)
    stored = columns(Store(config.run.uri))
    assert len(stored["influence_prose"]) == 128  # of the first shard
    with Query(RunView(config.run.uri)) as query:
        by_name = query.table(
            "select l0h1, l0h1_error, full_model, full_model_error from influence_query "
            "where token_id < 128 order by token_id"
        )
        assert np.array_equal(np.asarray(by_name["l0h1"]), stored["influence_query"][:, 0])
        error = stored["influence_query_error"]
        assert np.array_equal(np.asarray(by_name["l0h1_error"]), error[:, 0])
        assert np.array_equal(np.asarray(by_name["full_model"]), stored["full_influence_query"])
        above = query.table(
            "select count(*) as n from tokens where token_id < 128 and influence_prose[2] > 0"
        )
        assert above["n"].to_pylist() == [(stored["influence_prose"][:, 1] > 0).sum()]
        assert query.table("select * from chi").num_columns == 9 + len(stored["influence_query"].T)
        assert "control_influence_spread" in query.tables


def test_tokens_that_are_added_have_the_influence_of_the_same_chains(
    make_config: MakeConfig, finish_run: FinishRun, tmp_path
) -> None:
    config = make_config(sampler=REWEIGHTED, observables=OBSERVABLES)
    finish_run(config)
    before = columns(Store(config.run.uri))
    run(dataclasses.replace(config, more=MoreConfig(num_probe_sequences=8)))
    after = columns(Store(config.run.uri))
    assert all(np.array_equal(before[name], after[name]) for name in before)
    added = columns(Store(config.run.uri), 2)
    assert np.isfinite(added["influence_query_error"]).all()


def test_tokens_that_are_measured_are_inputs_of_chains_only_where_they_are_observed(
    make_config: MakeConfig,
) -> None:
    own = make_config(observables={"prose": OBSERVABLES["prose"]}).inputs()
    assert "num_probe_sequences" not in chain_inputs(own)["tokens"]
    own = make_config(observables={"query": OBSERVABLES["query"]}).inputs()
    assert chain_inputs(own)["tokens"]["num_probe_sequences"] == 6


def test_an_unknown_token_ends_the_run_in_one_line(make_config: MakeConfig) -> None:
    wrong = {"query": ObservableConfig(tokens=(10**6,), split="probe")}
    with pytest.raises((UnitError, ValueError), match=r"observables\.query: tokens has 1000000"):
        run(make_config(sampler=REWEIGHTED, observables=wrong))
