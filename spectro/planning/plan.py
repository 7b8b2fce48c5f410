"""What a run will do and cost, stage by stage, before anything is spent (design §3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from spectro.config import PipelineConfig
from spectro.formats import run_dir
from spectro.formats.chain_names import pilot_name
from spectro.formats.chain_records import read_pilot
from spectro.formats.parts import CONTROL
from spectro.measure.sampled_groups import groups_of
from spectro.models.components import FULL, Group
from spectro.models.size import ModelSize
from spectro.planning.config import Assumptions
from spectro.planning.courses import (
    CoursesByGroup,
    UnitsByStage,
    assumed_courses,
    count_run,
    measurement_of,
    total,
)
from spectro.planning.device_costs import Device, clean_peak, host_peak, scoring_peak, stepping_peak
from spectro.planning.unit_counts import MeasurementSize, Work, stored_bytes, tokens_work
from spectro.sampling.config import TokenDraws
from spectro.sampling.pilot.damage import DAMAGED, damage
from spectro.sampling.pilot.pilot import WITHOUT_TOP_K
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Gaussian
from spectro.storage.store import Store
from spectro.susceptibility.warnings import damage_sentence

LEFT_OUT = (
    "not in it: reading and tokenising the sources, the page, workers' start, units done twice"
)


MOST_OWN_DRAWS = 0.1
"""Work of chains over that of tiles, above which a plan says that token shards are too small for
draws of their own."""


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

    Raises ValueError for what the model cannot do.
    """
    m = measurement_of(config, size)
    parts = config.parts
    num_shards = len(m.shard_sizes)
    courses = {part: assumed_courses(own, size, assumed, num_shards) for part, own in parts.items()}
    units = count_run(
        config,
        dict.fromkeys(parts, m),
        courses,
        partial(device.num_batches, m),
        num_setups=device.num_devices,
    )
    stages = [tokens_stage(m, device)]
    stored = 0
    for part, own in parts.items():
        stages += stage_plans(part_label(part), own, m, courses[part], device, units[part])
        stored += sum(
            stored_bytes(m, group, chain)
            for group in groups_of(own, size)
            for chain in courses[part][group.name]
        )
    return Plan(
        model=config.model.name_or_path,
        size=size,
        device=device,
        stages=tuple(stages),
        num_tokens=sum(m.shard_sizes) * m.context,
        num_columns=m.num_columns,
        stored_bytes=stored,
        notes=_notes(
            config, size.vocab_size, device, assumed, max(stage.device_bytes for stage in stages)
        )
        + _own_draws_notes(config, assumed, num_shards, stages),
    )


def part_label(part: str) -> str:
    """A part of a run as plans and bills call it."""
    return part or "posterior"


def damage_notes(store: Store, config: PipelineConfig, size: ModelSize) -> list[str]:
    """What the pilots of a run that has begun say of posteriors that destroy the model."""
    found, gamma = [], config.sampler.gamma
    if not store.exists(run_dir.NAME):
        return []
    for group in groups_of(config, size):
        if store.exists(pilot_name(group.name)):
            for name, moments in read_pilot(store, group.name).items():
                at_prior = config.sampler.nbeta == 0
                mean = moments.prior_delta_loss if at_prior else moments.delta_loss
                share = damage(mean, moments.headroom)
                if share >= DAMAGED:
                    needed = None if math.isnan(moments.gamma_needed) else moments.gamma_needed
                    found.append(f"pilot: {damage_sentence(name, share, needed, gamma)}")
    return found


def stage_plans(
    part: str,
    config: PipelineConfig,
    m: MeasurementSize,
    courses: CoursesByGroup,
    device: Device,
    units_by_stage: UnitsByStage,
) -> list[StagePlan]:
    """Stages of one part of a run that have anything to do."""
    groups = groups_of(config, m.size)
    joined = [
        {name: c for group in groups for name, c in courses[group.name][chain].items()}
        for chain in config.chain.of_shard(0)
    ]
    found = []
    for stage, units in units_by_stage.items():
        if total(units).num_units:
            peak = _device_peak(stage, config, m, device, groups, courses)
            rows = joined * (1 + len(config.sisters)) if stage in ("tiles", "assembly") else joined
            host = host_peak(m, stage, groups, rows, config.run.chains_per_unit)
            found.append(_stage(part, stage, units, m, device, peak, host))
    return found


def _device_peak(
    stage: str,
    config: PipelineConfig,
    m: MeasurementSize,
    device: Device,
    groups: Sequence[Group],
    courses: CoursesByGroup,
) -> int:
    if stage == "assembly":
        return clean_peak(m, device, max(m.shard_sizes))
    num_seq = max(m.shard_sizes) if stage == "tiles" else m.num_evaluation
    peaks = [
        scoring_peak(m, device, group, num_seq, listed=listed)
        for group in groups
        for listed in ({False, m.list_size > 0} if group.name not in WITHOUT_TOP_K else {False})
    ]
    if stage == "chains":
        together = config.chain.batches(config.run.chains_per_unit)[0]
        own = {g.name: [courses[g.name][chain] for chain in together] for g in groups}
        peaks += [stepping_peak(m, device, group, own[group.name]) for group in groups]
    return max(peaks)


def tokens_stage(m: MeasurementSize, device: Device) -> StagePlan:
    """Token ids of all sequences of a measurement."""
    return _stage("posterior", "tokens", [tokens_work(m)], m, device, 0, 0)


def _stage(
    part: str,
    stage: str,
    units: Sequence[Work],
    m: MeasurementSize,
    device: Device,
    device_bytes: int,
    host_bytes: int,
) -> StagePlan:
    seconds = [device.unit_seconds(m.size, unit) for unit in units]
    return StagePlan(
        part=part,
        stage=stage,
        work=total(units),
        device_seconds=sum(seconds),
        finish_seconds=device.finish_seconds(seconds),
        device_bytes=device_bytes,
        host_bytes=host_bytes,
    )


def _stepped(config: PipelineConfig, assumed: Assumptions) -> str:
    """Names of what `reweighted` is assumed to need chains for."""
    full = [FULL.name] if config.estimator.kind.needs_full else []
    return ", ".join([*full, *assumed.chain_components]) or "nothing"


def _own_draws_notes(
    config: PipelineConfig, assumed: Assumptions, num_shards: int, stages: Sequence[StagePlan]
) -> tuple[str, ...]:
    """What draws of each token shard's own cost beside the shared ones."""
    if config.chain.draws is TokenDraws.SHARED:
        return ()
    own = [stage for stage in stages if stage.part == "posterior"]
    chains = sum(stage.work.flops for stage in own if stage.stage == "chains")
    tiles = sum(stage.work.flops for stage in own if stage.stage == "tiles")
    notes = []
    if chains > MOST_OWN_DRAWS * tiles:
        notes.append(
            f"chain.draws per_shard: chains of {num_shards} token shards are {chains / tiles:.0%} "
            "of the tiles' work; a larger tokens.sequences_per_shard makes it less"
        )
    if not isinstance(config.sampler, Gaussian):
        names = _stepped(config, assumed) if isinstance(config.sampler, Reweighted) else "all"
        notes.append(
            f"chain.draws per_shard: components that step ({names}) do so for each of "
            f"{num_shards} token shards"
        )
    return tuple(notes)


def _notes(
    config: PipelineConfig,
    vocab_size: int,
    device: Device,
    assumed: Assumptions,
    peak_bytes: int,
) -> tuple[str, ...]:
    notes = [f"rates: {device.rates.provenance}"]
    if isinstance(config.sampler, Reweighted):
        notes.append(
            f"assumed until the pilot: chains are needed for {_stepped(config, assumed)}, for "
            "nothing else"
        )
        if config.sisters:
            notes.append(_of_sisters(config, _stepped(config, assumed)))
    if config.chain.steps_between_draws is None and not isinstance(config.sampler, Gaussian):
        notes.append(f"assumed: {assumed.steps_between_draws} steps between draws of a chain")
    if config.scoring.uses_top_k(vocab_size):
        names = ", ".join([*WITHOUT_TOP_K, *assumed.exact_components])
        notes.append(
            f"assumed until the pilot: losses from short lists of {config.scoring.shortlist_size}, "
            f"but for {names}"
        )
    if config.chain.target_reliability is not None:
        notes.append("chain.target_reliability ends draws early: these are upper bounds")
    memory = device.rates.memory_bytes or device.rates.host_memory_bytes
    if memory is not None and peak_bytes > memory:
        notes.append(
            f"the bound of the peak, {peak_bytes / 1e9:.0f} GB, is above the {memory / 1e9:.0f} GB "
            "there are: batches may have to be halved"
        )
    return (*notes, LEFT_OUT)


def _of_sisters(config: PipelineConfig, names: str) -> str:
    """Which parts cost nothing, and what they must draw themselves."""
    own = []
    if CONTROL in config.sisters:
        own.append(f"independent draws of {names} at nbeta 0")
    if len(config.sisters) > len(own):
        own.append(f"chains of {names}")
    return (
        f"{', '.join(config.sisters)}: the run's own draws by other weights, without a pass; "
        f"assumed to be made anew: {' and '.join(own)}"
    )
