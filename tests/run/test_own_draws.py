"""Draws of each token shard's own (`chain.draws: per_shard`): shard s has chains s·C … (s+1)·C − 1.

The noise of two tokens is correlated as far as they share draws. Two shards that share them have
one error in common, however many tokens they hold; with draws of their own it averages out.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spectro.config import PipelineConfig
from spectro.formats.chain_records import drop_draws, read_record
from spectro.formats.halves import read_half
from spectro.formats.product import SUMMARY_NAME, moments_name, part_name, read_product
from spectro.formats.tiles import read_tile
from spectro.formats.tokens import read_split
from spectro.inspect.status import read_status
from spectro.inspect.verify import verify_run
from spectro.measure.resident_model import ResidentModel
from spectro.measure.units import ChainUnit, PilotUnit, TileUnit
from spectro.models.components import all_components, group_components, select_components
from spectro.models.config import ModelConfig
from spectro.pipeline.run import Goal, run_pipeline
from spectro.pipeline.stages import STAGES
from spectro.sampling.config import ChainConfig, TokenDraws
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Gaussian
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from spectro.susceptibility.estimator import EstimatorConfig, EstimatorKind
from spectro.tokens.config import MoreConfig, Source, SourceKind, TokensConfig
from spectro.views.diagnose import diagnose_run
from spectro.views.run_view import RunView
from spectro.views.text.measured_text import RunDraws
from spectro.work.config import RunConfig
from spectro.work.progress import Progress

MakeConfig = Callable[..., PipelineConfig]
RESTRICTED = EstimatorConfig(kind=EstimatorKind.RESTRICTED)
OWN = ChainConfig(
    num_chains=2,
    num_draws=4,
    draws=TokenDraws.PER_SHARD,
    batch_size=2,
    num_burnin_steps=1,
    steps_between_draws=2,
)
MIXED = Reweighted(gamma=300.0, nbeta=10.0, min_effective_fraction=0.7)
"""Heads are drawn independently (0.87, 0.89), `embed`, the MLP and `full` step (0.56 to 0.66)."""


def test_of_a_shards_chains_no_other_shard_has_one() -> None:
    assert [OWN.of_shard(shard) for shard in range(3)] == [range(2), range(2, 4), range(4, 6)]
    assert OWN.of_shards(3) == range(6)
    shared = dataclasses.replace(OWN, draws=TokenDraws.SHARED)
    assert {shared.of_shard(shard) for shard in range(3)} == {range(2)} == {shared.of_shards(3)}
    five = dataclasses.replace(OWN, num_chains=5)
    assert [list(company) for company in five.batches(2, 1)] == [[5, 6], [7, 8], [9]]
    with pytest.raises(ValueError, match="'fresh' is not a valid TokenDraws"):
        ChainConfig(draws="fresh")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, text_dir: Path
) -> PipelineConfig:
    """A run of two shards, eight and four sequences, with chains of their own; some step."""
    config = whole(tmp_path_factory.mktemp("own") / "run", tiny_model_dir, text_dir, OWN)
    run_pipeline(config, Progress(), goal=Goal.SAMPLE)
    return config


@pytest.fixture
def measured(finished: PipelineConfig, tmp_path: Path) -> PipelineConfig:
    """A copy of it that may be spoilt."""
    shutil.copytree(finished.run.uri, tmp_path / "copy")
    return dataclasses.replace(finished, run=RunConfig(uri=str(tmp_path / "copy"), num_workers=0))


def whole(uri: Path, model_dir: Path, text_dir: Path, chain: ChainConfig) -> PipelineConfig:
    source = Source(kind=SourceKind.TEXT_FOLDER, path=str(text_dir / "code"))
    return PipelineConfig(
        model=ModelConfig(name_or_path=str(model_dir), device="cpu"),
        tokens=TokensConfig(
            subsets={"code": source},
            context=16,
            num_probe_sequences=12,
            num_sampling_sequences=4,
            num_evaluation_sequences=2,
            sequences_per_shard=8,
        ),
        sampler=MIXED,
        chain=chain,
        run=RunConfig(uri=str(uri), num_workers=0),
        components=["l1*", "embed"],
        control=False,
    )


def test_a_shard_is_measured_along_its_own_chains(
    finished: PipelineConfig, tiny_model_dir: Path, text_dir: Path, tmp_path: Path
) -> None:
    """χ of shard 0 and 1 is what chains 0, 1 and 2, 3 of a run of four shared chains give: the
    halves of its first split. Importance weights are normalised within those chains."""
    four = dataclasses.replace(OWN, num_chains=4, draws=TokenDraws.SHARED)
    shared = whole(tmp_path / "shared", tiny_model_dir, text_dir, four)
    run_pipeline(shared, Progress(), goal=Goal.SAMPLE)
    own, all_chains = Store(finished.run.uri), Store(shared.run.uri)
    product, num_first = read_product(own), 8 * 16
    shards = product.chi_NH[:num_first], product.chi_NH[num_first:]
    for shard, chi_NH in enumerate(shards):
        half = read_half(all_chains, shard, 1 if shard else 0)
        np.testing.assert_allclose(chi_NH, half, rtol=1e-5, atol=1e-6 * np.abs(chi_NH).max())
    kinds = {c.independent for g in ("full", "l1") for c in _chains(own, g, range(4))}
    assert kinds == {True, False}
    heads = [r.components["l1h0"] for r in _records(own, "l1", range(4))]
    assert len({tuple(head.weight) for head in heads}) == 4


def _chains(store: Store, group: str, chains: range) -> list:
    records = [read_record(store, group, chain) for chain in chains]
    return [chain for record in records for chain in record.components.values()]


def test_statistics_are_of_a_token_and_over_all_shards(finished: PipelineConfig) -> None:
    """C chains and T draws are a token's; E[φ] is the mean over the chains of all shards."""
    store = Store(finished.run.uri)
    summary = read_sealed(store, SUMMARY_NAME)
    assert set(summary["num_chains"]) == {2}
    assert set(summary["num_draws"]) == {2 * 4}
    own = [record.components["l1h0"] for record in _records(store, "l1", range(4))]
    weight = np.concatenate([chain.weight for chain in own])
    delta_loss = np.concatenate([chain.delta_loss for chain in own])
    column = summary["components"].index("l1h0")
    assert summary["mean_phi"][column] == pytest.approx(weight @ delta_loss / weight.sum())
    (found,) = diagnose_run(RunView(finished.run.uri), ["l1h0"])
    assert found.traces.chains == (0, 1, 2, 3)
    assert found.traces.draws_of_token == 2 * 4
    assert found.traces.half_share == 0.5


def _records(store: Store, group: str, chains: range) -> list:
    return [read_record(store, group, chain) for chain in chains]


def test_a_shard_that_was_lost_gets_the_same_bits(measured: PipelineConfig) -> None:
    """Its chains are run again under their own numbers, the other shard's are left alone."""
    store = Store(measured.run.uri)
    before = {n: store.read(n) for n in store.list() if n.endswith((".parquet", ".safetensors"))}
    lost = [n for n in store.list("chains") if "/2" in n or "/3" in n]
    assert any(n.endswith(".safetensors") for n in lost)
    for name in [*lost, part_name(1), moments_name(1)]:
        store.delete(name)
    run_pipeline(measured, Progress(), goal=Goal.SAMPLE)
    assert {n: store.read(n) for n in before} == before


@pytest.mark.parametrize("kept", [True, False])
def test_tokens_that_are_added_get_further_chains(measured: PipelineConfig, kept: bool) -> None:
    """Draws of the shards before are not needed: those that were removed are not made again."""
    store = Store(measured.run.uri)
    if not kept:
        assert drop_draws(store) > 0
    before = {n: store.read(n) for n in store.list("chains")}
    more = dataclasses.replace(measured, more=MoreConfig(num_probe_sequences=20))
    run_pipeline(more, Progress(), goal=Goal.SAMPLE)  # 8 sequences more: one shard
    after = store.list("chains")
    assert {n: store.read(n) for n in before} == before
    new = {f"chains/{g}/{c}.json" for g in ("embed", "full", "l1") for c in (4, 5)}
    assert {n for n in after if n not in before and n.endswith(".json")} == new
    chi_NH = read_product(store).chi_NH
    assert len(chi_NH) == 20 * 16
    assert np.isfinite(chi_NH).all()
    assert verify_run(store, more).faults == ()
    assert read_status(store, more).stages["chains"].done == 3 * 3 * 2


def test_a_text_is_measured_along_the_first_shards_chains(finished: PipelineConfig) -> None:
    """A sequence of that shard gets its own χ again, one of another shard other noise."""
    view = RunView(finished.run.uri)
    bank, product = RunDraws(view, finished), read_product(view.store)
    for shard, row in ((0, 0), (1, 8)):
        ids_T1 = read_split(view.root, "probe").ids_ST1[row]
        found = bank.measure(ids_T1, product.components).chi_MC
        expected = product.chi_NH[16 * row : 16 * (row + 1)]
        is_same = np.allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
        assert is_same == (shard == 0)


def test_noise_is_shared_by_shards_only_where_draws_are(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    """Replicates are 192 pairs δ, −δ, each a chain of its own, of one head.

    The same truth: means over pairs agree within their Monte-Carlo errors. The errors of two
    shards, averaged over tokens, correlate over replicates with shared draws and not with own ones,
    where |r| < 4 / √192 = 0.29.
    """
    chi_of = {kind: _restricted(make_config, tmp_path, kind) for kind in TokenDraws}
    shared, own = chi_of[TokenDraws.SHARED], chi_of[TokenDraws.PER_SHARD]
    np.testing.assert_array_equal(own[0], shared[0])
    gap_N = own[1].mean(axis=0) - shared[1].mean(axis=0)
    error_N = np.sqrt((own[1].var(axis=0) + shared[1].var(axis=0)) / (NUM_PAIRS - 1))
    z_N = gap_N / error_N
    assert np.sqrt((z_N**2).mean()) < 2  # found: 0.92; tokens share draws, so not 1 ± 1/√2N
    assert np.abs(gap_N).max() > 0
    assert np.corrcoef(shared[1].mean(axis=0), own[1].mean(axis=0))[0, 1] > 0.8  # found: 0.93
    common = np.corrcoef(shared[0].mean(axis=1), shared[1].mean(axis=1))[0, 1]
    independent = np.corrcoef(own[0].mean(axis=1), own[1].mean(axis=1))[0, 1]
    assert common > 4 / np.sqrt(NUM_PAIRS) > abs(independent)  # found: 0.51, -0.08


NUM_PAIRS = 192


def _restricted(make_config: MakeConfig, tmp_path: Path, kind: TokenDraws) -> list[np.ndarray]:
    """χ of the head from each pair alone, [pairs, N] of both shards."""
    config = make_config(
        tmp_path / str(kind),
        sampler=Gaussian(gamma=300.0),
        chain=dataclasses.replace(OWN, num_chains=NUM_PAIRS, num_draws=2, draws=kind),
        estimator=RESTRICTED,
        components=["l1h0"],
    )
    run_pipeline(config, Progress(), goal=Goal.TOKENS)
    resident, found = ResidentModel(config), []
    group = group_components(select_components(["l1h0"], all_components(2, 2)))[0]
    STAGES.execute(PilotUnit(group=group), resident, lambda done, total: None)
    for shard in (0, 1):
        chains = config.chain.of_shard(shard)
        for unit in (
            ChainUnit(group=group, chains=tuple(chains)), TileUnit(group=group, shard=shard),
        ):  # fmt: skip
            STAGES.execute(unit, resident, lambda done, total: None)
        sums = read_tile(resident.root, shard, group.name)[0]["l1h0"]
        records = _records(resident.root, group.name, chains)
        delta_loss_CT = np.stack([r.components["l1h0"].delta_loss for r in records])
        squares_C1 = (delta_loss_CT**2).mean(axis=1, keepdims=True)
        found.append(squares_C1 - sums.weighted_CN / 2)
    return found
