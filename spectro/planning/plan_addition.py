"""What it costs to measure more tokens of a run that is there: along its own draws (ADR 049).

Nothing is assumed: how the draws came about stands in the chains' markers. Where every token shard
has chains of its own, added shards' are taken to come about as the first shard's.
"""

from __future__ import annotations

import dataclasses
from functools import partial

from spectro.config import PipelineConfig
from spectro.formats import tokens
from spectro.formats.chain_names import record_name
from spectro.formats.chain_records import read_record
from spectro.formats.product import measured_shards
from spectro.formats.tokens import TokensInfo
from spectro.measure.sampled_groups import groups_of
from spectro.measure.tokenise import added_parts
from spectro.models.size import ModelSize
from spectro.planning.bill import courses_of_run
from spectro.planning.courses import (
    CoursesByGroup,
    UnitsByStage,
    count_run,
    measurement_of,
    with_shared,
)
from spectro.planning.device_costs import Device
from spectro.planning.plan import LEFT_OUT, Plan, StagePlan, part_label, stage_plans, tokens_stage
from spectro.planning.unit_counts import MeasurementSize, Work, chain_work, setup_work, stored_bytes
from spectro.sampling.config import ChainConfig, TokenDraws
from spectro.storage.store import Store

NOTHING_ADDED = (
    "the run has these tokens already: nothing is added "
    "(more.num_probe_sequences counts, per subset, those that are there too)"
)


def plan_addition(config: PipelineConfig, size: ModelSize, device: Device) -> Plan:
    """Plan what `config.more` adds to the run, with what of the run is not measured yet.

    Raises ValueError if the run's chains are not done.
    """
    root, m = Store(config.run.uri), measurement_of(config, size)
    info = _info(root)
    added = shard_sizes(config, info)
    stages: list[StagePlan] = []
    if added:
        alone = dataclasses.replace(m, num_sampling=0, num_evaluation=0, shard_sizes=added)
        stages.append(tokens_stage(alone, device))
    stored, again = 0, 0
    parts = config.parts
    shards = {
        part: dataclasses.replace(m, shard_sizes=(*_not_measured(root.child(part), info), *added))
        for part in parts
    }
    courses = {
        part: _courses(root.child(part), own, size, len(shards[part].shard_sizes))
        for part, own in parts.items()
    }
    counted = count_run(config, shards, courses, partial(device.num_batches, m), num_setups=0)
    for part, own in parts.items():
        units = addition_units(
            root.child(part),
            own,
            shards[part],
            with_shared(config, courses)[part],
            counted[part],
            num_setups=0 if part else device.num_devices,
        )
        again += len(units["chains"])
        stages += stage_plans(part_label(part), own, shards[part], courses[part], device, units)
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
        num_tokens=sum(added) * m.context,
        num_columns=m.num_columns,
        stored_bytes=stored,
        notes=_notes(config.chain, device, info, sum(added), again),
    )


def shard_sizes(config: PipelineConfig, info: TokensInfo) -> tuple[int, ...]:
    """Sequences of every shard that is added; none if the run has all of them already."""
    total = sum(len(part) for part in added_parts(config, info).values())
    own = config.tokens.sequences_per_shard
    per_shard = (config.more and config.more.sequences_per_shard) or own
    return tuple(min(per_shard, total - start) for start in range(0, total, per_shard))


def shard_sizes_after(config: PipelineConfig) -> tuple[int, ...]:
    """Sequences of every shard that the run will have with what is added."""
    info = _info(Store(config.run.uri))
    return (*info.splits["probe"].shard_sizes, *shard_sizes(config, info))


def addition_units(
    store: Store,
    config: PipelineConfig,
    m: MeasurementSize,
    courses: CoursesByGroup,
    counted: UnitsByStage,
    *,
    num_setups: int = 1,
) -> UnitsByStage:
    """Work of every unit of one part, by stage: tiles, assembly, and chains that are not there.

    Those are the shards' own, or the shared ones whose draws were removed. Own chains of a shard
    that was begun before are counted, done or not. `counted` are all units of the part, by stage
    (`count_run`).
    """
    if not m.shard_sizes:
        return {"chains": [], "tiles": [], "assembly": []}
    is_new = config.chain.draws is TokenDraws.PER_SHARD
    chains = counted["chains"] if is_new else _chains_again(store, config, m, courses)
    setups = [setup_work(m)] * num_setups  # a worker's first unit makes what lists share
    first = "chains" if chains else "tiles"
    units = {"chains": chains, "tiles": counted["tiles"], "assembly": counted["assembly"]}
    return units | {first: [*setups, *units[first]]} if any(s.flops for s in setups) else units


def _chains_again(
    store: Store, config: PipelineConfig, m: MeasurementSize, courses: CoursesByGroup
) -> list[Work]:
    """Chains whose draws were removed, each with those that it stepped with."""
    present, found = store.list("chains"), []
    for group in groups_of(config, m.size):
        gone = [
            read_record(store, group.name, chain, or_dropped=True).together
            for chain in range(config.chain.num_chains)
            if record_name(group.name, chain) not in present
        ]
        for company in dict.fromkeys(gone):
            own = [courses[group.name][chain] for chain in company]
            found.append(chain_work(m, group, own))
    return found


def _not_measured(store: Store, info: TokensInfo) -> list[int]:
    """Sequences of the shards that are there and have no rows yet."""
    measured, sizes = measured_shards(store), info.splits["probe"].shard_sizes
    return [size for shard, size in enumerate(sizes) if not measured.get(shard)]


def _courses(
    store: Store, config: PipelineConfig, size: ModelSize, num_shards: int
) -> CoursesByGroup:
    """Of the chains along which so many shards, not measured yet, will be."""
    num_sets = len(config.chain.of_shards(num_shards)) // config.chain.num_chains
    try:
        of_first = courses_of_run(store, config, size)
        return {group: num_sets * own for group, own in of_first.items()}
    except FileNotFoundError as error:
        raise ValueError(
            f"{error}: the run's chains are not done; finish it first (spectro resume run.uri=...)"
        ) from error


def _info(root: Store) -> TokensInfo:
    try:
        return tokens.read_info(root)
    except FileNotFoundError as error:
        raise ValueError(f"{error}: the run has no tokens yet, plan it without more") from error


def _notes(
    chain: ChainConfig, device: Device, info: TokensInfo, added: int, again: int
) -> tuple[str, ...]:
    is_new = chain.draws is TokenDraws.PER_SHARD
    how = "forward passes only: every draw is there, or comes from its key"
    if is_new:
        how = f"{again} units of chains are run: ΔL is taken along every shard's own draws"
    elif again:
        how = f"draws were removed (run.keep_draws=false): {again} units of chains are run again"
    there = info.splits["probe"].num_sequences
    whose = "draws of their own" if is_new else "the run's own draws"
    return (
        f"rates: {device.rates.provenance}",
        f"{added} sequences are added to {there}, measured along {whose}",
        how if added else NOTHING_ADDED,
        LEFT_OUT,
    )
