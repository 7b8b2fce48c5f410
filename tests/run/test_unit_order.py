"""The order of units against the one before it, in a simulated fleet (`pythia_1_4b_fast`).

Units last as long as the plan says at the assumed rates of an H200, in bfloat16; the order knows
only their nominal costs. Workers take the next unit that is ready (list scheduling).
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean

import pytest

from spectro.config import PipelineConfig
from spectro.measure.sampled_groups import groups_of
from spectro.measure.unit_costs import UnitCosts
from spectro.measure.units import ChainUnit, PilotUnit, TokensUnit, measurement_units
from spectro.pipeline.stages import STAGES
from spectro.planning.config import Assumptions
from spectro.planning.device_costs import Device
from spectro.planning.model_sizes import published_sizes
from spectro.planning.rates import load_rates
from spectro.planning.run_work import count_run, measurement_of
from spectro.planning.schedules import assumed_schedules
from spectro.work.model_info import ModelInfo
from spectro.work.unit_queue import UnitQueue
from spectro.work.units import Unit
from spectro.work.worker_kinds import WorkerKind
from tests.jobs.test_configs import composed

RATES = Path(__file__).parents[2] / "benchmarks/rates/h200-assumed.yaml"
FLEETS = range(16, 129, 4)
SIZE = published_sizes()["pythia-1.4b"]
MODEL = ModelInfo(**{f.name: getattr(SIZE, f.name) for f in dataclasses.fields(SIZE)},
                  device="cuda", weights_sha256="")  # fmt: skip


def seconds_by_unit(config: PipelineConfig) -> dict[str, float]:
    """Unit → its time on one device, as the plan counts it."""
    m = measurement_of(config, SIZE)
    device = Device(rates=load_rates(RATES), precision="bfloat16", num_devices=1)
    schedules = {
        part: assumed_schedules(own, SIZE, Assumptions(), len(m.shard_sizes))
        for part, own in config.parts.items()
    }
    work = count_run(
        config, dict.fromkeys(config.parts, m), schedules, partial(device.num_batches, m),
        num_setups=0,
    )  # fmt: skip
    found: dict[str, float] = {}
    for part, own in config.parts.items():
        prefix, groups = f"{part}/" if part else "", groups_of(own, SIZE)
        shards = range(len(m.shard_sizes) if work[part]["tiles"] else 0)
        names = {
            "pilot": [f"chains/{g.name}/pilot.json" for g in groups],
            "chains": [f"chains/{g.name}/{c}.json" for g in groups for c in own.chain.of_shard(0)],
            "tiles": [f"tiles/{s:05d}/{g.name}.safetensors" for s in shards for g in groups],
            "assembly": [f"susceptibilities/part-{s:05d}.parquet" for s in shards],
        }
        for stage, own_names in names.items():
            times = [device.unit_seconds(SIZE, unit) for unit in work[part][stage]]
            found |= dict(zip((prefix + name for name in own_names), times, strict=True))
    return found


def units_of(config: PipelineConfig) -> list[Unit]:
    """All units of a run that has its tokens, in their order."""
    goals = measurement_units(
        part="",
        sisters=list(config.sisters),
        groups=groups_of(config, SIZE),
        costs=UnitCosts.of(config, MODEL),
        chain_batches=partial(config.chain.batches, config.run.chains_per_unit),
        shard_sizes=measurement_of(config, SIZE).shard_sizes,
        tokens=TokensUnit(),
    )
    return STAGES.required(goals, {"tokens/tokens.json"})


def by_stage_and_flops(units: Sequence[Unit]) -> list[Unit]:
    """The order before: part, stage, flops per token."""
    rank = {stage.name: index for index, stage in enumerate(STAGES.stages)}

    def flops(unit: Unit) -> float:
        group = getattr(unit, "group", None)
        return 1.0 if group is None else MODEL.cost(group)

    return sorted(units, key=lambda u: (u.part, rank[u.stage], -flops(u), u.sort_key))


def makespan(units: Sequence[Unit], seconds: Mapping[str, float], num_workers: int) -> float:
    """When the last unit ends."""
    queue, now, running = UnitQueue(units), 0.0, list[tuple[float, str]]()
    while not queue.is_finished:
        for unit in queue.take({WorkerKind.CPU: num_workers - len(running)}):
            heapq.heappush(running, (now + seconds.get(unit.id, 0.0), unit.id))
        now, unit_id = heapq.heappop(running)
        queue.done(unit_id, 0.0)
    return now


@pytest.mark.parametrize("kind", ["restricted", "two_chain"])
def test_a_fleet_waits_less_at_its_end(kind: str) -> None:
    """Time until the last unit ends over the time if no worker ever waited.

    With 32 workers and 26 groups nothing is left to gain: the fleet waits 1 to 2 % of its time in
    either order. Over fleets of 16 to 128 workers it waits less (2026-11-29: restricted 1.152 and
    1.159 before, two_chain 1.131 and 1.141).
    """
    config = composed("pipeline", "experiment=pythia_1_4b_fast", f"estimator.kind={kind}")
    units, seconds = units_of(config), seconds_by_unit(config)
    assert len([u for u in units if isinstance(u, PilotUnit) and not u.part]) >= 26
    before, total = by_stage_and_flops(units), sum(seconds[u.id] for u in units if u.id in seconds)
    ratios = {w: makespan(units, seconds, w) * w / total for w in FLEETS}
    old = {w: makespan(before, seconds, w) * w / total for w in FLEETS}
    assert ratios[32] < 1.03 and abs(ratios[32] - old[32]) < 0.01
    assert mean(ratios.values()) < mean(old.values())


def test_large_draws_come_first() -> None:
    """Of the chains those whose draws are gigabytes, though their flops are few."""
    config = composed("pipeline", "experiment=pythia_1_4b_fast", "estimator.kind=two_chain")
    chains = [u for u in units_of(config) if isinstance(u, ChainUnit) and not u.part]
    costly = sorted(chains, key=lambda u: -u.cost)
    assert [u.group.name for u in costly[:8]] == ["full"] * 4 + ["embed"] * 4
    in_flops = [u.group.name for u in by_stage_and_flops(chains)]
    assert in_flops[-4:] == ["unembed"] * 4
