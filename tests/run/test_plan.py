"""Plans: from a shape alone, in time linear in the work, honest about where rates come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peak import peak_bytes

from spectro.config import PipelineConfig
from spectro.models.config import ModelConfig
from spectro.models.size import ModelSize
from spectro.pipeline.run import Goal, run_pipeline
from spectro.planning.bill import make_bill
from spectro.planning.config import Assumptions
from spectro.planning.device_costs import Device
from spectro.planning.measure_rates import measure_rates, random_model
from spectro.planning.model_sizes import published_sizes, size_of_checkpoint
from spectro.planning.plan import Plan, make_plan
from spectro.planning.rates import RATES_FOLDER, Rate, Rates, load_rates, to_yaml
from spectro.sampling.config import ChainConfig
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Gaussian, Psgld
from spectro.work.progress import Progress
from spectro.work.registry import StageRegistry

MakeConfig = Callable[..., PipelineConfig]
CHAIN = ChainConfig(num_chains=2, num_draws=4, batch_size=2)
RATES_1 = Rates(
    device="a device",
    measured=True,
    date="2026-01-01",
    rates=(
        Rate(precision="float32", hidden_size=128, scoring_tflops=1.0, stepping_tflops=0.5),
        Rate(precision="float32", hidden_size=2048, scoring_tflops=4.0, stepping_tflops=2.0),
    ),
    read_bytes_per_second=1e9,
    written_bytes_per_second=1e9,
)


def on(num_devices: int, rates: Rates = RATES_1) -> Device:
    return Device(rates=rates, precision="float32", num_devices=num_devices)


def plan_of(config: PipelineConfig, num_devices: int = 1) -> Plan:
    return make_plan(config, size_of_checkpoint(config.model), on(num_devices), Assumptions())


def test_published_shapes_have_the_published_numbers_of_weights() -> None:
    """Biderman et al. 2023, table 1, and the model cards; to the last weight where they say it."""
    known = published_sizes()
    assert known["pythia-1.4b"].num_weights == 1_414_647_808
    assert known["pythia-70m"].num_weights == 70_426_624
    assert known["pythia-160m"].num_weights == 162_322_944
    assert known["pythia-410m"].num_weights == 405_334_016
    assert known["pythia-1b"].num_weights == 1_011_781_632
    assert known["pythia-2.8b"].num_weights == 2_775_208_960


def test_sizes_by_hub_name_folder_and_the_embedded_model(tiny_model_dir: Path) -> None:
    known = published_sizes()
    for name in ("EleutherAI/pythia-1.4b", "EleutherAI/pythia-1.4b-deduped"):
        assert size_of_checkpoint(ModelConfig(name_or_path=name)) == known["pythia-1.4b"]
    tiny = size_of_checkpoint(ModelConfig(name_or_path=str(tiny_model_dir)))
    assert (tiny.num_layers, tiny.hidden_size, tiny.vocab_size) == (2, 16, 257)
    assert size_of_checkpoint(ModelConfig()).num_layers == 4
    with pytest.raises(ValueError, match="neither a folder"):
        size_of_checkpoint(ModelConfig(name_or_path="someone/else"))


def test_more_draws_and_more_tokens_cost_in_proportion(make_config: MakeConfig) -> None:
    config = make_config(sampler=Reweighted(), chain=CHAIN)
    more = dataclasses.replace(config, chain=dataclasses.replace(config.chain, num_draws=8))
    tokens = dataclasses.replace(config.tokens, num_probe_sequences=12)
    wide = dataclasses.replace(config, tokens=tokens)

    def tiles(c: PipelineConfig) -> int:
        return next(s.work.flops for s in plan_of(c).stages if s.stage == "tiles")

    assert tiles(wide) == 2 * tiles(config)
    assert 1.5 * tiles(config) < tiles(more) < 2 * tiles(config)


def test_draws_of_each_shards_own_cost_their_evaluation_for_each(make_config: MakeConfig) -> None:
    """Tiles are the same; ΔL of four sequences is taken for each of two shards, twelve in all."""
    shared = make_config(sampler=Gaussian(), chain=CHAIN)
    own = dataclasses.replace(shared, chain=dataclasses.replace(CHAIN, draws="per_shard"))
    works = [{s.stage: s.work for s in plan_of(config).stages} for config in (shared, own)]
    assert works[1]["chains"].flops == 2 * works[0]["chains"].flops
    assert works[1]["chains"].num_units == 2 * works[0]["chains"].num_units
    assert works[1]["tiles"] == works[0]["tiles"]
    (note,) = [note for note in plan_of(own).notes if "per_shard" in note]
    share = works[1]["chains"].flops / works[1]["tiles"].flops
    assert f"chains of 2 token shards are {share:.0%} of the tiles' work" in note
    assert share == pytest.approx(2 * 4 / 12, rel=0.15)  # each chain has a clean pass of its own
    large = dataclasses.replace(own.tokens, num_probe_sequences=60, sequences_per_shard=60)
    assert not [
        note
        for note in plan_of(dataclasses.replace(own, tokens=large)).notes
        if "per_shard" in note
    ]
    stepped = dataclasses.replace(own, sampler=Reweighted())
    assert "components that step (full, embed, unembed) do so for each of 2 token shards" in (
        " ".join(plan_of(stepped).notes)
    )


def test_devices_share_the_work_but_no_unit(make_config: MakeConfig) -> None:
    config = make_config(control=True)
    one, many, endless = (plan_of(config, n) for n in (1, 3, 10_000))
    assert one.finish_seconds == pytest.approx(one.device_seconds)
    # beside L(w*), which every worker that runs a pilot takes for itself
    assert one.device_seconds <= endless.device_seconds < 1.3 * one.device_seconds
    assert one.finish_seconds / 3 <= many.finish_seconds < one.finish_seconds
    assert 0 < endless.finish_seconds < many.finish_seconds
    assert {s.part for s in one.stages} == {"posterior", "control"}
    assert [s.stage for s in one.stages if s.part == "control"] == [
        "pilot",
        "chains",
        "tiles",
        "assembly",
    ]


def test_the_nearest_width_counts_and_only_the_precision_asked_for() -> None:
    assert RATES_1.at(160, "float32").scoring_tflops == 1.0
    assert RATES_1.at(1024, "float32").scoring_tflops == 4.0
    with pytest.raises(ValueError, match="have no bfloat16: they have float32"):
        RATES_1.at(160, "bfloat16")


DEVICES = sorted(set(RATES_FOLDER.glob("*.yaml")) - {RATES_FOLDER / "clusters.yaml"})


@pytest.mark.parametrize("file", DEVICES, ids=lambda path: path.stem)
def test_every_shipped_file_of_rates_says_where_it_comes_from(file: Path) -> None:
    rates = load_rates(file)
    assert rates.date
    if rates.measured:
        assert rates.versions and rates.commit
        assert "NOT MEASURED" not in rates.provenance
    else:
        assert rates.provenance.startswith("ASSUMED, NOT MEASURED")


def test_rates_are_written_and_read(tmp_path: Path) -> None:
    (tmp_path / "rates.yaml").write_text(to_yaml(RATES_1))
    assert load_rates(tmp_path / "rates.yaml") == RATES_1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("device: x", "is no file of rates: 'storage'"),
        ("{", "is no YAML"),
        (to_yaml(RATES_1).replace("measured: true", "measured: false"), "needs an 'assumption'"),
        (to_yaml(RATES_1).replace("scoring_tflops: 1.0", "scoring_tflops: 0"), "must be a number"),
        (to_yaml(RATES_1) + "colour: red\n", "is no file of rates.*colour"),
    ],
)
def test_bad_files_of_rates_are_refused_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "rates.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        load_rates(tmp_path / "rates.yaml")
    assert "\n" not in str(error.value)


def test_measuring_needs_no_checkpoint() -> None:
    size = ModelSize(num_layers=2, num_heads=2, hidden_size=32, intermediate_size=64, vocab_size=99)
    assert random_model(size, torch.device("cpu"), torch.float32).shape == size
    rates = measure_rates(size, 16, "float32", torch.device("cpu"))
    assert rates.measured and rates.versions
    assert rates.at(32, "float32").scoring_tflops > 0 < rates.at(32, "float32").stepping_tflops
    with pytest.raises(ValueError, match="float32"):
        measure_rates(size, 16, "int8", torch.device("cpu"))


def test_the_bill_of_a_run_beside_its_plan(make_config: MakeConfig) -> None:
    chain = ChainConfig(num_chains=2, num_draws=6, batch_size=2, steps_between_draws=2)
    config = make_config(sampler=Psgld(), chain=chain, control=True)
    plan = plan_of(config)
    with pytest.raises(ValueError, match="is not measured yet"):
        make_bill(plan, config)
    run_pipeline(config, Progress(), goal=Goal.SAMPLE)
    lines = make_bill(plan, config)
    assert [(line.part, line.stage) for line in lines] == [
        (stage.part, stage.stage) for stage in plan.stages if stage.stage != "tokens"
    ]
    for line in lines:  # nothing was assumed: all was done as planned
        assert line.done == line.planned
        assert (line.seconds or 0) > 0 or line.stage in ("pilot", "assembly")


def test_the_bill_of_a_run_that_kept_no_draws(make_config: MakeConfig) -> None:
    config = make_config(
        chain=ChainConfig(num_chains=1, num_draws=2, batch_size=2, steps_between_draws=1)
    )
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, keep_draws=False))
    run_pipeline(config, Progress(), goal=Goal.SAMPLE)
    assert all(line.done == line.planned for line in make_bill(plan_of(config), config))


@pytest.mark.parametrize("sampler", [Reweighted(), Psgld()])
def test_no_unit_holds_more_than_is_planned(
    make_config: MakeConfig, monkeypatch, sampler: Reweighted | Psgld
) -> None:
    """On a CPU a unit's device and host memory are one; the model was there before."""
    chain = ChainConfig(
        num_chains=2, num_draws=4, batch_size=4, num_burnin_steps=1, steps_between_draws=2
    )
    config = make_config(sampler=sampler, chain=chain, control=True)
    peaks: dict[tuple[str, str], int] = {}
    execute = StageRegistry.execute

    def watched(stages, unit, *rest) -> None:
        real = peak_bytes(execute, stages, unit, *rest)
        key = (unit.part or "posterior", unit.stage)
        peaks[key] = max(peaks.get(key, 0), real)

    monkeypatch.setattr(StageRegistry, "execute", watched)
    run_pipeline(config, Progress(), goal=Goal.SAMPLE)
    size = size_of_checkpoint(config.model)
    plan = make_plan(config, size, on(1), Assumptions(chain_components=["*"]))
    for stage in plan.stages:
        if stage.stage != "tokens":
            real = peaks[stage.part, stage.stage]
            assert real <= stage.device_bytes + stage.host_bytes
            assert real > 0 or stage.work.flops == 0
