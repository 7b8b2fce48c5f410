"""The plan of measuring more tokens of an existing run along its draws (ADR 049).

Nothing is assumed: the chains' records say how the draws came about. Where every token shard has
separate chains, those of added shards are taken to be like the first shard's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
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
from spectro.planning.device_costs import Device
from spectro.planning.plan import Plan, draws_bytes, stages_of_parts, tokens_stage
from spectro.planning.plan_notes import LEFT_OUT
from spectro.planning.run_work import UnitsByStage, count_run, measurement_of
from spectro.planning.schedules import SchedulesByGroup, recorded_schedules, with_shared
from spectro.planning.unit_work import MeasurementSize, Work, chain_work, setup_work
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
    added, parts = shard_sizes(config, info), config.parts
    of_parts = {
        part: dataclasses.replace(m, shard_sizes=(*_not_measured(root.child(part), info), *added))
        for part in parts
    }
    schedules = {
        part: _schedules(root.child(part), own, size, len(of_parts[part].shard_sizes))
        for part, own in parts.items()
    }
    num_batches = partial(device.num_batches, m)
    units = _units_to_do(config, of_parts, schedules, num_batches, device.num_devices)
    stages = stages_of_parts(config, of_parts, schedules, device, units)
    if added:
        alone = dataclasses.replace(m, num_sampling=0, num_evaluation=0, shard_sizes=added)
        stages.insert(0, tokens_stage(alone, device))
    again = sum(len(of_part["chains"]) for of_part in units.values())
    return Plan(
        model=config.model.name_or_path,
        size=size,
        device=device,
        stages=tuple(stages),
        num_tokens=sum(added) * m.context,
        num_columns=m.num_columns,
        stored_bytes=draws_bytes(config, of_parts, schedules),
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


def _units_to_do(
    config: PipelineConfig,
    m: Mapping[str, MeasurementSize],
    schedules: Mapping[str, SchedulesByGroup],
    num_batches: Callable[[int, bool], int],
    num_setups: int,
) -> dict[str, UnitsByStage]:
    """Tiles and assembly of the new shards, and chains that are not there, by part and stage.

    Chains are the shards' own, or the shared ones whose draws were removed. Own chains of a shard
    that was begun before are counted, done or not.
    """
    root = Store(config.run.uri)
    found: dict[str, UnitsByStage] = {}
    known = with_shared(config, schedules)
    counted = count_run(config, m, schedules, num_batches, num_setups=0)
    for part, own in config.parts.items():
        of_part = counted[part]
        if not m[part].shard_sizes:
            found[part] = {"chains": [], "tiles": [], "assembly": []}
            continue
        is_new = own.chain.draws is TokenDraws.PER_SHARD
        chains = (
            of_part["chains"]
            if is_new
            else _chains_again(root.child(part), own, m[part], known[part])
        )
        units = {"chains": chains, "tiles": of_part["tiles"], "assembly": of_part["assembly"]}
        # a worker's first unit makes what top-K lists share
        setup = setup_work(m[part])
        if setup.flops and not part:
            first = "chains" if chains else "tiles"
            units[first] = [setup] * num_setups + units[first]
        found[part] = units
    return found


def _chains_again(
    store: Store, config: PipelineConfig, m: MeasurementSize, schedules: SchedulesByGroup
) -> list[Work]:
    """Chains whose draws were removed, each with those that it stepped with."""
    present, found = store.list("chains"), []
    for group in groups_of(config, m.size):
        gone = [
            read_record(store, group.name, chain, or_dropped=True).together
            for chain in range(config.chain.num_chains)
            if record_name(group.name, chain) not in present
        ]
        for together in dict.fromkeys(gone):
            own = [schedules[group.name][chain] for chain in together]
            found.append(chain_work(m, group, own))
    return found


def _not_measured(store: Store, info: TokensInfo) -> list[int]:
    """Sequences of the shards that are there and have no rows yet."""
    measured, sizes = measured_shards(store), info.splits["probe"].shard_sizes
    return [size for shard, size in enumerate(sizes) if not measured.get(shard)]


def _schedules(
    store: Store, config: PipelineConfig, size: ModelSize, num_shards: int
) -> SchedulesByGroup:
    """Of the chains along which so many shards, not measured yet, will be."""
    num_sets = len(config.chain.of_shards(num_shards)) // config.chain.num_chains
    try:
        of_first = recorded_schedules(store, config, size)
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
    whose = "separate draws" if is_new else "the run's own draws"
    return (
        f"rates: {device.rates.provenance}",
        f"{added} sequences are added to {there}, measured along {whose}",
        how if added else NOTHING_ADDED,
        LEFT_OUT,
    )
