"""Counts of a plan against the counted work of real runs: equal, unit kind by unit kind."""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spectro.config import PipelineConfig
from spectro.models.components import FULL_GROUP
from spectro.models.config import ScoringConfig
from spectro.models.cost.flop_counter import counting
from spectro.pipeline.run import Goal, run_pipeline
from spectro.planning import unit_work as counts
from spectro.planning.config import Assumptions
from spectro.planning.device_costs import Device
from spectro.planning.model_sizes import size_of_checkpoint
from spectro.planning.plan_addition import plan_addition
from spectro.planning.rates import load_rates
from spectro.planning.run_work import count_part, count_run, measurement_of
from spectro.planning.schedules import assumed_schedules, recorded_schedules
from spectro.planning.unit_work import total
from spectro.sampling import recorder
from spectro.sampling.config import ChainConfig
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Exponential, Gaussian, Psgld
from spectro.storage.store import ObjectInfo, Store
from spectro.susceptibility.estimator import Baseline, EstimatorConfig, EstimatorKind
from spectro.tokens.config import MoreConfig
from spectro.work.progress import Progress
from spectro.work.registry import StageRegistry

RATES = load_rates(Path(__file__).parent.parent.parent / "benchmarks/rates/h200-assumed.yaml")
MakeConfig = Callable[..., PipelineConfig]
REWEIGHTED = Reweighted(gamma=300.0, nbeta=10.0)
CHAIN = ChainConfig(
    num_chains=2, num_draws=4, batch_size=2, num_burnin_steps=1, steps_between_draws=2
)
CASES: dict[str, dict] = {
    "reweighted": {"sampler": REWEIGHTED, "chain": CHAIN, "control": True},
    "several_nbeta": {
        "sampler": Reweighted(gamma=300.0, nbeta=100.0, also_nbeta=(10.0, 1.0)),
        "chain": CHAIN,
        "estimator": EstimatorConfig(kind=EstimatorKind.RESTRICTED),
        "control": True,
    },
    "independent_control": {"sampler": REWEIGHTED, "chain": CHAIN, "control": "independent"},
    "measured_distance": {
        "sampler": Exponential(step_size=1e-2),
        "chain": dataclasses.replace(CHAIN, steps_between_draws=None),
    },
    "several_blocks": {
        "sampler": REWEIGHTED,
        "chain": ChainConfig(
            num_chains=2,
            num_draws=5,
            draws_per_block=2,
            batch_size=3,
            num_burnin_steps=1,
            steps_between_draws=3,
        ),
        "control": True,
    },
    "reliable_enough": {
        "sampler": REWEIGHTED,
        "chain": ChainConfig(
            num_chains=2,
            num_draws=8,
            draws_per_block=2,
            batch_size=2,
            num_burnin_steps=1,
            target_reliability=0.5,
        ),
        "control": True,
    },
    "short_lists": {
        "sampler": REWEIGHTED,
        "chain": CHAIN,
        "control": True,
        "scoring": ScoringConfig(shortlist_size=16, max_shortlist_error=0.3),
    },
    "published": {
        "sampler": Psgld(),
        "chain": dataclasses.replace(CHAIN, num_burnin_steps=3),
        "estimator": EstimatorConfig(baseline=Baseline.UNPAIRED, num_baseline_batches=3),
    },
    "sampled": {  # one group in one unit, whose minibatches are the whole sampling set
        "sampler": Psgld(vocabulary_sample=16),
        "chain": dataclasses.replace(CHAIN, batch_size=8),
        "components": ["l1*"],
        "chains_per_unit": 2,
    },
    "chains_together": {
        "sampler": REWEIGHTED,
        "chain": ChainConfig(
            num_chains=3,
            num_draws=8,
            draws_per_block=2,
            batch_size=2,
            num_burnin_steps=1,
            steps_between_draws=1,
            target_reliability=0.5,
        ),
        "chains_per_unit": 2,
        "control": True,
    },
    "chains_together_fixed": {
        "sampler": Psgld(),
        "chain": dataclasses.replace(CHAIN, num_chains=3),
        "chains_per_unit": 4,
    },
    "own_draws": {  # full steps, for each of two shards anew
        "sampler": REWEIGHTED,
        "chain": dataclasses.replace(CHAIN, draws="per_shard"),
        "control": True,
    },
    "gaussian_one_chain": {
        "sampler": Gaussian(),
        "chain": CHAIN,
        "estimator": EstimatorConfig(kind=EstimatorKind.ONE_CHAIN),
    },
}

QUICK_CASES = ("reweighted", "published", "own_draws")
"""A control and chains in place of weights; steps and the unpaired baseline; several shards."""


def case_config(make_config: MakeConfig, case: str) -> PipelineConfig:
    fields = dict(CASES[case])
    together = fields.pop("chains_per_unit", 1)
    config = make_config(**fields)
    return dataclasses.replace(
        config, run=dataclasses.replace(config.run, chains_per_unit=together)
    )


def run_counted(config: PipelineConfig, monkeypatch) -> Counter:
    """Flops by (part, stage) of a whole run."""
    flops: Counter = Counter()
    execute = StageRegistry.execute

    def counted(stages, unit, resident, *rest) -> None:
        _ = resident.model  # a worker's check of it, once, is not in the counts
        with counting() as counter:
            execute(stages, unit, resident, *rest)
        flops[unit.part, unit.stage] += counter.get_total_flops()

    monkeypatch.setattr(StageRegistry, "execute", counted)
    run_pipeline(config, Progress(), goal=Goal.SAMPLE)
    return flops


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=() if c in QUICK_CASES else pytest.mark.slow) for c in CASES],
)
def test_a_run_does_what_is_counted(case: str, make_config: MakeConfig, monkeypatch) -> None:
    if case == "several_blocks":  # and of unequal sizes: embed and full have one draw each
        monkeypatch.setattr(recorder, "BLOCK_BYTES", 4 * 2 * 3000)
        monkeypatch.setattr(counts, "BLOCK_BYTES", 4 * 2 * 3000)
    config = case_config(make_config, case)
    real = run_counted(config, monkeypatch)
    size = size_of_checkpoint(config.model)
    root, m = Store(config.run.uri), measurement_of(config, size)
    courses = {
        p: recorded_schedules(root.child(p), own, size, len(m.shard_sizes))
        for p, own in config.parts.items()
    }
    planned = count_run(
        config, dict.fromkeys(config.parts, m), courses, num_batches=lambda n, listed: 1
    )
    for part in config.parts:
        for stage in ("pilot", "chains", "tiles", "assembly"):
            assert total(planned[part][stage]).flops == real[part, stage], (part, stage)
        every = [c for g in courses[part].values() for own in g for c in own.values()]
        if part not in config.sisters:
            assert real[part, "chains"] > 0 < real[part, "tiles"]
        ended_early = any(c.num_draws < config.chain.num_draws for c in every)
        assert ended_early == (config.chain.target_reliability is not None), (case, part)
        assert any(c.listed for c in every) == (case == "short_lists")


@pytest.mark.parametrize(
    ("case", "keep_draws"),
    [
        ("reweighted", True),
        ("short_lists", False),
        ("chains_together", False),
        ("own_draws", True),
    ],
)
def test_an_addition_does_what_is_counted(
    case: str, keep_draws: bool, make_config: MakeConfig, monkeypatch
) -> None:
    config = case_config(make_config, case)
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, keep_draws=keep_draws))
    run_pipeline(config, Progress(), goal=Goal.SAMPLE)
    more = dataclasses.replace(config, more=MoreConfig(num_probe_sequences=11))
    size, device = (
        size_of_checkpoint(config.model),
        Device(rates=RATES, precision="float32", num_devices=1),
    )
    plan = plan_addition(more, size, device)
    planned = Counter({(s.part, s.stage): s.work.flops for s in plan.stages if s.work.flops})
    real = run_counted(more, monkeypatch)
    assert planned == Counter(
        {(part or "posterior", stage): n for (part, stage), n in real.items() if n}
    )
    assert (("posterior", "chains") in planned) == (not keep_draws or case == "own_draws")
    assert plan.num_tokens == 2 * (11 - 6) * 16
    assert not plan_addition(more, size, device).stages


def test_courses_of_a_run_tell_chains_from_independent_draws(make_config: MakeConfig) -> None:
    config = make_config(**CASES["reweighted"])
    run_pipeline(config, Progress(), goal=Goal.SAMPLE)
    courses = recorded_schedules(Store(config.run.uri), config, size_of_checkpoint(config.model))
    assert not courses[FULL_GROUP.name][0]["full"].independent
    assert {c.num_draws for group in courses.values() for own in group for c in own.values()} == {4}


class Traffic:
    """Bytes that a store reads and writes."""

    def __init__(self, monkeypatch) -> None:
        self.read: Counter = Counter()
        self.written: Counter = Counter()
        read, hashed, put = Store.read, Store.read_hashed, Store.put

        def counted_read(store: Store, name: str) -> bytes:
            data = read(store, name)
            self.read[name] += len(data)
            return data

        def counted_hashed(
            store: Store, name: str, size_bytes: int
        ) -> tuple[memoryview, ObjectInfo]:
            self.read[name] += size_bytes
            return hashed(store, name, size_bytes)

        def counted_put(store: Store, name: str, data: bytes) -> None:
            put(store, name, data)
            self.written[name] += len(data)

        monkeypatch.setattr(Store, "read", counted_read)
        monkeypatch.setattr(Store, "read_hashed", counted_hashed)
        monkeypatch.setattr(Store, "put", counted_put)


def test_draws_are_written_and_read_as_counted(make_config: MakeConfig, monkeypatch) -> None:
    """Payload is exact: what comes on top is one header per object."""
    monkeypatch.setattr(recorder, "BLOCK_BYTES", 4 * 2 * 3000)
    monkeypatch.setattr(counts, "BLOCK_BYTES", 4 * 2 * 3000)
    rows = 2 * 16  # two sequences of a shard of eight: four batches
    monkeypatch.setattr("spectro.models.cost.memory.CPU_ROWS", rows)
    config = make_config(**CASES["several_blocks"] | {"control": False})
    traffic = Traffic(monkeypatch)
    run_pipeline(config, Progress(), goal=Goal.SAMPLE)
    size = size_of_checkpoint(config.model)
    courses = recorded_schedules(Store(config.run.uri), config, size)
    planned = count_part(
        config, measurement_of(config, size), courses, num_batches=lambda n, listed: -(-n // 2)
    )
    written = {n: b for n, b in traffic.written.items() if n.endswith("safetensors")}
    stored = sum(b for n, b in written.items() if n.startswith("chains/"))
    headers = 1500 * len(written)
    expected = total(planned["chains"]).written_bytes
    assert 0 < expected <= stored <= expected + headers
    tiles = sum(b for n, b in written.items() if n.startswith("tiles/"))
    expected = total(planned["tiles"]).written_bytes
    assert 0 < expected <= tiles <= expected + headers
    reads = sum(b for n, b in traffic.read.items() if n.startswith("chains/") and n in written)
    ids = sum(4 * n * 17 for n in (8, 4)) * len(courses)
    expected = total(planned["tiles"]).read_bytes - ids
    # `embed` and `full` are read once for each of two shards, stepped layers for every batch
    assert stored < expected <= reads <= expected + 2 * 4 * headers


def value_bytes(column: pa.Array) -> int:
    """Bytes of a column's numbers; of text in a dictionary, its indices."""
    if pa.types.is_dictionary(column.type):
        column = column.indices
    elif pa.types.is_fixed_size_list(column.type):
        column = column.flatten()
    return np.asarray(column).nbytes


@pytest.mark.parametrize(("num_chains", "keep"), [(1, True), (2, False), (3, True)])
def test_rows_and_half_estimates_are_as_large_as_counted(
    make_config: MakeConfig, num_chains: int, keep: bool
) -> None:
    """Payload in memory, before it is compressed."""
    chain = dataclasses.replace(CHAIN, num_chains=num_chains)
    config = make_config(sampler=REWEIGHTED, chain=chain)
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, keep_halves=keep))
    run_pipeline(config, Progress(), goal=Goal.SAMPLE)
    store = Store(config.run.uri)
    m = measurement_of(config, size_of_checkpoint(config.model))
    names = {*store.list("susceptibilities"), *store.list("halves")}
    folders = ("susceptibilities", "halves") if num_chains > 1 and keep else ("susceptibilities",)
    assert names == {f"{folder}/part-{s:05d}.parquet" for folder in folders for s in (0, 1)}
    tables = [pq.read_table(io.BytesIO(store.read(name))) for name in names]
    stored = sum(value_bytes(c.combine_chunks()) for table in tables for c in table.columns)
    planned = [counts.assembly_work(m, n, m.num_columns + 1).written_bytes for n in m.shard_sizes]
    assert sum(planned) == stored


def test_what_is_assumed_is_what_happens_where_the_assumption_holds(
    make_config: MakeConfig,
) -> None:
    config = make_config(**CASES["reweighted"])
    run_pipeline(config, Progress(), goal=Goal.SAMPLE)
    size = size_of_checkpoint(config.model)
    for part, own in config.parts.items():
        real = recorded_schedules(Store(config.run.uri).child(part), own, size)
        chains = [n for group in real.values() for n, c in group[0].items() if not c.independent]
        assumed = assumed_schedules(own, size, Assumptions(chain_components=chains))
        assert assumed == real
