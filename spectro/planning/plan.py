"""The plan of a run: work, time and memory of every stage.

Work of every unit (run_work.py) at a device's rates gives time; memory is the bound of the batches
that the run would choose (device_costs.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from spectro.config import PipelineConfig
from spectro.measure.sampled_groups import groups_of
from spectro.models.components import Group
from spectro.models.cost.memory import require_fits
from spectro.models.size import ModelSize
from spectro.planning.config import Assumptions
from spectro.planning.device_costs import Device, host_peak
from spectro.planning.device_peaks import (
    clean_peak,
    scoring_peak,
    stepping_peak,
    widest_groups,
)
from spectro.planning.plan_notes import plan_notes, stored_draws_notes
from spectro.planning.run_work import UnitsByStage, count_run, measurement_of
from spectro.planning.schedules import SchedulesByGroup, assumed_schedules
from spectro.planning.unit_work import MeasurementSize, Work, stored_bytes, tokens_work, total
from spectro.sampling.pilot.pilot import WITHOUT_TOP_K


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One stage of one part of a run."""

    part: str
    """`posterior`, `control`, or another nβ's, `nbeta-3`."""
    stage: str
    """As progress shows it."""
    work: Work
    """What its units do."""
    device_seconds: float
    """Of all devices together."""
    finish_seconds: float
    """Until the last unit ends, on the devices there are."""
    device_bytes: int
    """Peak of a device's memory; 0 where only the host works."""
    host_bytes: int
    """Peak of a worker's host memory."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole run."""

    model: str
    """Name."""
    size: ModelSize
    """Its numbers."""
    device: Device
    """What it is done on."""
    stages: tuple[StagePlan, ...]
    """In the order of their work."""
    num_tokens: int
    """Tokens measured."""
    num_columns: int
    """Components of χ."""
    stored_bytes: int
    """Draws in storage when all chains are done."""
    notes: tuple[str, ...]
    """What is assumed, and what is not in the numbers."""

    @property
    def work(self) -> Work:
        """All of it."""
        return total([stage.work for stage in self.stages])

    @property
    def device_seconds(self) -> float:
        """Of all devices together."""
        return sum(stage.device_seconds for stage in self.stages)

    @property
    def finish_seconds(self) -> float:
        """Of all stages, one after the other."""
        return sum(stage.finish_seconds for stage in self.stages)


def make_plan(
    config: PipelineConfig, size: ModelSize, device: Device, assumed: Assumptions
) -> Plan:
    """Plan a run with all its parts.

    Raises ValueError for what the model cannot do, and where one card does not hold it.
    """
    m, parts = measurement_of(config, size), config.parts
    rates = device.rates
    if rates.memory_bytes is not None:
        require_fits(size, device.product_bytes, m.context, rates.memory_bytes, rates.device)
    num_shards = len(m.shard_sizes)
    schedules = {
        part: assumed_schedules(own, size, assumed, num_shards) for part, own in parts.items()
    }
    of_parts = dict.fromkeys(parts, m)
    units = count_run(
        config,
        of_parts,
        schedules,
        partial(device.num_batches, m),
        num_setups=device.num_devices,
    )
    stages = (
        tokens_stage(m, device),
        *stages_of_parts(config, of_parts, schedules, device, units),
    )
    tiles, chains = (
        total([s.work for s in stages if (s.part, s.stage) == ("posterior", stage)])
        for stage in ("tiles", "chains")
    )
    peak_bytes = max(stage.device_bytes for stage in stages)
    is_above = peak_bytes > (device.rates.memory_bytes or math.inf)
    return Plan(
        model=config.model.name_or_path,
        size=size,
        device=device,
        stages=stages,
        num_tokens=sum(m.shard_sizes) * m.context,
        num_columns=m.num_columns,
        stored_bytes=draws_bytes(config, of_parts, schedules),
        notes=(
            *plan_notes(
                config,
                m,
                device.rates,
                assumed,
                peak_bytes,
                least_step_bytes(config, m, device, schedules[""]) if is_above else 0,
                chains.flops / max(1, tiles.flops),
            ),
            *stored_draws_notes(config, m, device, chains, tiles),
        ),
    )


def least_step_bytes(
    config: PipelineConfig, m: MeasurementSize, device: Device, schedules: SchedulesByGroup
) -> int:
    """Device bytes of a step whose micro-batches cannot be halved any more: what moves decides."""
    together = config.chain.batches(config.run.chains_per_unit)[0]
    return max(
        stepping_peak(
            m, device, group, [schedules[group.name][c] for c in together], config.sampler, rows=1
        )
        for group in widest_groups(groups_of(config, m.size))
    )


def part_label(part: str) -> str:
    """A part of a run as plans and bills call it."""
    return part or "posterior"


def tokens_stage(m: MeasurementSize, device: Device) -> StagePlan:
    """Token ids of all sequences of a measurement."""
    return make_stage("posterior", "tokens", [tokens_work(m)], m.size, device, 0, 0)


def stages_of_parts(
    config: PipelineConfig,
    m: Mapping[str, MeasurementSize],
    schedules: Mapping[str, SchedulesByGroup],
    device: Device,
    units: Mapping[str, UnitsByStage],
) -> list[StagePlan]:
    """Stages of all parts of a run that have anything to do."""
    found = []
    for part, own in config.parts.items():
        groups = groups_of(own, m[part].size)
        chains = [
            {name: c for g in groups for name, c in schedules[part][g.name][chain].items()}
            for chain in own.chain.of_shard(0)
        ]
        for stage, of_stage in units[part].items():
            if total(of_stage).num_units:
                peak = _device_peak(stage, own, m[part], device, groups, schedules[part])
                in_tile = 1 + len(own.sisters) if stage in ("tiles", "assembly") else 1
                host = host_peak(m[part], stage, groups, chains * in_tile, own.run.chains_per_unit)
                found.append(
                    make_stage(part_label(part), stage, of_stage, m[part].size, device, peak, host)
                )
    return found


def draws_bytes(
    config: PipelineConfig,
    m: Mapping[str, MeasurementSize],
    schedules: Mapping[str, SchedulesByGroup],
) -> int:
    """Draws that all chains leave in storage."""
    return sum(
        stored_bytes(m[part], group, chain)
        for part, own in config.parts.items()
        for group in groups_of(own, m[part].size)
        for chain in schedules[part][group.name]
    )


def make_stage(
    part: str,
    stage: str,
    units: Sequence[Work],
    size: ModelSize,
    device: Device,
    device_bytes: int,
    host_bytes: int,
) -> StagePlan:
    """Time of some units on a device, with their peaks of memory."""
    seconds = [device.unit_seconds(size, unit) for unit in units]
    return StagePlan(
        part=part,
        stage=stage,
        work=total(units),
        device_seconds=sum(seconds),
        finish_seconds=device.finish_seconds(seconds),
        device_bytes=device_bytes,
        host_bytes=host_bytes,
    )


def _device_peak(
    stage: str,
    config: PipelineConfig,
    m: MeasurementSize,
    device: Device,
    groups: Sequence[Group],
    schedules: SchedulesByGroup,
) -> int:
    if stage == "assembly":
        return clean_peak(m, device, max(m.shard_sizes))
    widest = widest_groups(groups)
    in_tiles = stage == "tiles"
    num_seq = max(m.shard_sizes) if in_tiles else m.num_evaluation
    num_sums = len(config.chain.of_shard(0)) * (1 + len(config.sisters)) if in_tiles else 0
    peaks = [
        scoring_peak(m, device, group, num_seq, listed=listed, num_sums=num_sums)
        for group in widest
        for listed in ({False, m.list_size > 0} if group.name not in WITHOUT_TOP_K else {False})
    ]
    if stage == "chains":
        together = config.chain.batches(config.run.chains_per_unit)[0]
        own = {g.name: [schedules[g.name][chain] for chain in together] for g in widest}
        peaks += [
            stepping_peak(m, device, group, own[group.name], config.sampler) for group in widest
        ]
    return max(peaks)
