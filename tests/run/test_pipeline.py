"""Whole runs of a tiny model: how they are executed changes nothing; what is done stays done."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPTNeoXForCausalLM

import spectro
from spectro.config import PipelineConfig
from spectro.formats import tokens
from spectro.formats.chain_records import read_record
from spectro.formats.fingerprint import OtherRunError
from spectro.formats.product import read_product
from spectro.models.load import load_model
from spectro.pipeline.run import Finished, Goal, run_pipeline
from spectro.pipeline.stages import STAGES
from spectro.sampling.config import ChainConfig
from spectro.sampling.samplers import Sgld
from spectro.storage.store import Store
from spectro.susceptibility.estimator import EstimatorConfig, EstimatorKind
from spectro.work.config import RunConfig
from spectro.work.errors import UnitError
from spectro.work.progress import Progress
from tests.conftest import FinishRun

MakeConfig = Callable[..., PipelineConfig]
THREE_CHAINS = ChainConfig(
    num_chains=3, num_draws=3, batch_size=2, num_burnin_steps=1, steps_between_draws=2
)
CHI = tuple(
    f"{folder}/part-{shard:05d}.parquet"
    for folder in ("susceptibilities", "halves")
    for shard in (0, 1)
)


def run(config: PipelineConfig, goal: Goal = Goal.SAMPLE) -> Finished:
    return run_pipeline(config, Progress(), goal=goal)


def chi_bytes(config: PipelineConfig) -> list[bytes]:
    store = Store(config.run.uri)
    return [store.read(name) for name in CHI]


def test_the_whole_path_and_a_second_invocation(make_config: MakeConfig) -> None:
    config = make_config(control=True)
    finished = run(config, Goal.REPORT)
    assert finished.num_units > 20
    store = Store(config.run.uri)
    names = set(store.list())
    assert {"run.yaml", "report/index.html", "clusters/cluster.json", *CHI} <= names
    assert {"control/run.yaml", *(f"control/{name}" for name in CHI)} <= names
    assert not [name for name in names if name.startswith("tiles/")]
    assert not [name for name in names if name.startswith("control/tokens/")]
    summary = json.loads(store.read("assembly/summary.json"))
    assert summary["components"] == ["l0h1", "l1h0", "l1h1", "l1mlp", "embed", "unembed"]
    assert len(summary["reliability"]) == 6
    assert summary["num_tokens"] == 2 * 6 * 16
    before = {name: store.read(name) for name in names}
    assert run(config, Goal.REPORT).num_units == 0
    assert {name: store.read(name) for name in store.list()} == before


def test_the_run_agrees_with_the_api(make_config: MakeConfig, finish_run: FinishRun) -> None:
    """With the distance of draws that the chains measure, as both do where nothing is given."""
    config = make_config(chain=ChainConfig(num_chains=2, num_draws=3, batch_size=2))
    assert config.chain.steps_between_draws is None
    finish_run(config)
    store = Store(config.run.uri)

    def ids(split: str) -> torch.Tensor:
        return torch.from_numpy(tokens.read_split(store, split).ids_ST1).long()

    result = spectro.susceptibilities(
        load_model(config.model),
        ids("sampling"),
        ids("probe"),
        sampler=config.sampler,
        components=config.components,
        evaluation_ids=ids("evaluation"),
        num_chains=config.chain.num_chains,
        num_draws=config.chain.num_draws,
        steps_between_draws=config.chain.steps_between_draws,
        num_burnin_steps=config.chain.num_burnin_steps,
        batch_size=config.chain.batch_size,
        seed=config.seed,
    )
    product = read_product(store)
    assert product.components == result.components
    # float32 sums, taken over batches of other sizes
    expected = result.chi.reshape(product.chi_NH.shape)
    assert np.allclose(product.chi_NH, expected, rtol=0, atol=2e-5 * expected.std())
    assert np.allclose(product.column("loss"), result.loss.ravel(), atol=1e-5)
    summary = json.loads(store.read("assembly/summary.json"))
    assert np.allclose(summary["reliability"], result.reliability, atol=1e-4)
    assert np.allclose(summary["mean_phi"], result.mean_phi, rtol=1e-5)
    assert np.allclose(result.llc, config.sampler.nbeta * result.mean_phi, rtol=1e-12)
    for key in ("llc", "llc_error"):
        assert np.allclose(summary[key], getattr(result, key), rtol=1e-5)
        assert np.allclose(summary[f"full_{key}"], result.summary[f"full_{key}"], rtol=1e-5)


def test_the_same_bytes_from_ray_with_two_workers_and_none(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    plain = make_config(tmp_path / "plain")
    run(plain)
    config = dataclasses.replace(plain, run=RunConfig(uri=str(tmp_path / "ray"), num_workers=2))
    run(config)
    assert chi_bytes(config) == chi_bytes(plain)


def test_a_broken_off_run_is_gone_on_with(
    make_config: MakeConfig, finish_run: FinishRun, tmp_path: Path
) -> None:
    whole, broken = make_config(tmp_path / "whole"), make_config(tmp_path / "broken")
    finish_run(whole)
    finish_run(broken)
    store = Store(broken.run.uri)
    store.delete("susceptibilities/part-00001.parquet")
    store.delete("halves/part-00001.parquet")
    store.delete("chains/l1/0.json")  # as if killed between the draws and their marker
    (lost,) = store.list("chains/embed/1")
    store.delete(lost)
    # shard 1: tiles of all five groups, their two lost chains, assembly
    assert run(broken).num_units == 5 + 2 + 1
    assert chi_bytes(broken) == chi_bytes(whole)


def test_chains_that_step_together_change_last_bits_at_most(
    make_config: MakeConfig, finish_run: FinishRun, tmp_path: Path
) -> None:
    """Also where one unit has fewer, and where a run is gone on with in other companies."""
    plain = make_config(tmp_path / "plain", chain=THREE_CHAINS)
    finish_run(plain)
    chi = read_product(Store(plain.run.uri)).chi_NH
    for together in (2, 3):
        config = together_config(plain, tmp_path / str(together), together)
        run(config)
        store = Store(config.run.uri)
        found = read_product(store).chi_NH
        assert np.allclose(found, chi, rtol=0, atol=2e-5 * chi.std())
        assert read_record(store, "l1", 0).together == tuple(range(together))
        assert run(together_config(config, tmp_path / str(together), 1)).num_units == 0


def test_of_chains_that_step_together_only_the_missing_are_done_again(
    make_config: MakeConfig, finish_run: FinishRun, tmp_path: Path
) -> None:
    """A lost marker: that chain alone. Lost draws: the same bits, in the old company."""
    plain = make_config(chain=THREE_CHAINS)
    config = together_config(plain, tmp_path / "run", 3)
    finish_run(config)
    store, whole = Store(config.run.uri), chi_bytes(config)
    draws = {n: store.read(n) for n in store.list("chains") if n.endswith("safetensors")}
    store.delete("chains/l1/1.json")
    (lost,) = store.list("chains/embed/2")
    store.delete(lost)
    for name in CHI:
        store.delete(name)
    moved = {"chains/l1/0.json", "chains/l1/2.json", "chains/embed/2.json"}
    before = {name: store.read(name) for name in moved}
    assert run(together_config(plain, tmp_path / "run", 2)).num_units == 2 * (5 + 1) + 2
    assert {name: store.read(name) for name in moved} == before
    assert read_record(store, "l1", 1).together == (1,)
    again = {n: store.read(n) for n in store.list("chains") if n.endswith("safetensors")}
    assert {n: again[n] for n in draws} == draws  # what is another's is left as it is
    assert all(n.startswith("chains/l1/1/") for n in again.keys() - draws.keys())
    assert STAGES.leftovers(store, again.keys() | store.list("chains/l1")) <= draws.keys()
    assert len(chi_bytes(config)) == len(whole)


def together_config(config: PipelineConfig, uri: Path, together: int) -> PipelineConfig:
    moved = dataclasses.replace(config.run, uri=str(uri), chains_per_unit=together)
    return dataclasses.replace(config, run=moved)


def test_draws_are_dropped_only_at_the_end_and_only_if_asked(
    make_config: MakeConfig, finish_run: FinishRun
) -> None:
    config = make_config()
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, keep_draws=False))
    finish_run(config)
    names = Store(config.run.uri).list()
    assert not [name for name in names if name.endswith(".safetensors")]
    assert "chains/full/0.dropped.json" in names
    assert run(config).num_units == 0


def test_a_lost_shard_is_made_again_although_the_draws_were_dropped(
    make_config: MakeConfig,
    finish_run: FinishRun,
) -> None:
    config = make_config()
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, keep_draws=False))
    finish_run(config)
    before = chi_bytes(config)
    Store(config.run.uri).delete("susceptibilities/part-00001.parquet")
    run(config)
    assert chi_bytes(config) == before
    Store(config.run.uri).delete("assembly/summary.json")
    assert run(config).num_units == 1


@pytest.mark.parametrize("keep", [True, False])
def test_chains_that_were_lost_are_made_again(
    make_config: MakeConfig, finish_run: FinishRun, keep: bool
) -> None:
    """Rows do not need them any more; the next addition of tokens does, and `verify` says so."""
    config = make_config()
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, keep_draws=keep))
    finish_run(config)
    store = Store(config.run.uri)
    before = {name: store.read(name) for name in store.list("chains")}
    lost = [name for name in before if name.startswith("chains/l1/")]
    store.delete_many(lost)
    assert run(config).num_units == 1 + 2  # pilot, two chains
    again = {name: store.read(name) for name in store.list("chains")}
    assert again.keys() == before.keys()
    draws = [name for name in before if name.endswith(".safetensors")]
    assert all(again[name] == before[name] for name in draws) and bool(draws) == keep
    assert run(config).num_units == 0


def test_one_chain_needs_no_full(make_config: MakeConfig, finish_run: FinishRun) -> None:
    config = make_config(estimator=EstimatorConfig(kind=EstimatorKind.ONE_CHAIN))
    finish_run(config)
    store = Store(config.run.uri)
    assert not [name for name in store.list() if "full" in name]
    assert np.isnan(read_product(store).column("full_response")).all()


def test_what_does_not_change_results_may_change(
    make_config: MakeConfig, finish_run: FinishRun
) -> None:
    config = make_config()
    finish_run(config)
    moved = dataclasses.replace(config.run, threads_per_worker=2, keep_draws=False, debug=True)
    assert run(dataclasses.replace(config, run=moved)).num_units == 0


def test_a_run_of_another_configuration_is_refused(
    make_config: MakeConfig, finish_run: FinishRun
) -> None:
    config = make_config()
    finish_run(config)
    before = Store(config.run.uri).list()
    with pytest.raises(OtherRunError, match=r"seed: 0 → 1.*give another run\.uri"):
        run(dataclasses.replace(config, seed=1))
    other = dataclasses.replace(config, chain=dataclasses.replace(config.chain, num_draws=4))
    with pytest.raises(OtherRunError, match=r"chain\.num_draws: 3 → 4"):
        run(other)
    assert Store(config.run.uri).list() == before


def test_other_weights_under_the_same_name_are_refused(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    model = GPTNeoXForCausalLM.from_pretrained(make_config().model.name_or_path)
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((Path(make_config().model.name_or_path) / name).read_bytes())
    config = make_config(model=dataclasses.replace(make_config().model, name_or_path=str(folder)))
    run(config, Goal.SAMPLE)
    model.gpt_neox.embed_in.weight.data[0, 0] += 1
    model.save_pretrained(folder)
    store = Store(config.run.uri)
    store.delete("susceptibilities/part-00000.parquet")
    with pytest.raises(OtherRunError, match="model_weights"):
        run(config, Goal.SAMPLE)


def test_a_chain_that_diverges_stops_the_run_and_reaches_no_product(
    make_config: MakeConfig,
) -> None:
    config = make_config(sampler=Sgld(gamma=1e-3, nbeta=1e30, step_size=1e3))
    with pytest.raises(UnitError, match=r"component .*, chain 0, step .*: the loss is") as error:
        run(config)
    assert "\n" not in str(error.value)
    names = Store(config.run.uri).list()
    assert not [
        name
        for name in names
        if name.startswith(("susceptibilities", "halves", "assembly", "tiles"))
    ]
    assert all(name.endswith("pilot.json") for name in names if name.startswith("chains"))


def test_control_is_a_run_of_its_own(make_config: MakeConfig, finish_run: FinishRun) -> None:
    config = make_config(control=True)
    finish_run(config)
    control = read_product(Store(config.run.uri).child("control"))
    real = read_product(Store(config.run.uri))
    assert control.fingerprint != real.fingerprint
    assert np.array_equal(control.column("loss"), real.column("loss"))
    assert not np.array_equal(control.chi_NH, real.chi_NH)
