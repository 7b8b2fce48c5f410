"""What a run is for, what is there of it already, and what it may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from functools import partial

from spectro.cluster_stage.units import (
    ClusterUnit,
    Layout,
    ListsUnit,
    cluster_units,
    rows_of_shards,
)
from spectro.config import PipelineConfig, to_dict
from spectro.formats import run_dir, tokens
from spectro.formats.chain_names import dropped_name
from spectro.formats.derived_objects import remove_stale
from spectro.formats.draws import incomplete
from spectro.formats.more_tokens import tidy
from spectro.formats.tokens import MARKER, TokensInfo
from spectro.measure.sampled_groups import groups_of
from spectro.measure.tokenise import report_dropped_draws
from spectro.storage.store import Store
from spectro.upsampling.units import upsample_units
from spectro.work.model_info import ModelInfo, model_of
from spectro.work.units import (
    AssemblyUnit,
    ChainUnit,
    ReportUnit,
    SummaryUnit,
    TileUnit,
    TokensUnit,
    Unit,
    measurement_units,
    required,
)


class Goal(StrEnum):
    """How far a run goes; each includes those before it."""

    TOKENS = "tokens"
    SAMPLE = "sample"
    CLUSTER = "cluster"
    REPORT = "report"


def open_run(store: Store, config: PipelineConfig, model: ModelInfo) -> None:
    """Write `run.yaml` of the run and of its other parts, or check those that are there.

    What the model cannot do was refused before (preflight.py). Raises OtherRunError.
    """
    if not store.is_local and not store.exists(run_dir.NAME):
        store.check_fence()
    weights = {
        "model_weights": model.weights_sha256,
        "device_type": model.device.split(":")[0],  # noise differs between CPU and CUDA (ADR 003)
    }
    own = dataclasses.replace(config, more=None)  # an addition is told by its own marker
    for part, each in own.parts.items():
        run_dir.start(store.child(part), to_dict(each), each.inputs() | weights, model.facts)


def known_model(store: Store, config: PipelineConfig, goal: Goal) -> ModelInfo | None:
    """The model's description where a run has noted it and has nothing left to measure.

    Clusters and the page need the model's shape alone: they can be made where no GPU is, and of a
    model that is not there any more.
    """
    file = run_dir.read(store)
    if goal not in (Goal.CLUSTER, Goal.REPORT) or file is None or config.more is not None:
        return None
    present = set(store.list())
    if MARKER not in present:
        return None
    model = model_of(file, store.uri)
    units = goal_units(config, model, tokens.read_info(store), goal)
    to_do = required([*units, *lost_chains(units, present)], present)
    alone = (SummaryUnit, ListsUnit, ClusterUnit, ReportUnit)
    return model if all(isinstance(unit, alone) for unit in to_do) else None


def present_objects(store: Store, config: PipelineConfig, goal: Goal) -> set[str]:
    """Objects that are there, without the markers of chains that have lost draws.

    What is not of the tokens that the run has now is removed; clusters only where they are asked
    for: until then the tokens that were added can be assigned to them.
    """
    keep = goal not in (Goal.CLUSTER, Goal.REPORT)
    present, info = set(store.list()), tokens.read_info(store)
    for part in config.parts:
        prefix, here = f"{part}/" if part else "", store.child(part)
        own = {name.removeprefix(prefix) for name in present if name.startswith(prefix)}
        stale = remove_stale(here, own, info.probe_sha256, keep_clusters=keep)
        own -= stale
        present -= {f"{prefix}{name}" for name in stale}
        present -= {f"{prefix}{name}" for name in incomplete(here, own)}
    tidy(store, present)
    report_dropped_draws(present, info.splits["probe"].num_shards, config.chain)
    return present


def lost_chains(goals: Iterable[Unit], present: Collection[str]) -> list[Unit]:
    """Chains of finished shards of which nothing is left, neither draws nor what they told.

    Nobody needs them now, but the next addition of tokens does, and a run is not whole without.
    """
    found: dict[str, Unit] = {}

    def visit(unit: Unit) -> None:
        if isinstance(unit, ChainUnit) and unit.id not in found and not told(unit):
            found[unit.id] = unit
        for need in unit.needs:
            if isinstance(need, ChainUnit | TileUnit | AssemblyUnit):
                visit(need)

    def told(unit: ChainUnit) -> bool:
        place = f"{unit.part}/" if unit.part else ""
        dropped = (f"{place}{dropped_name(unit.group.name, chain)}" for chain in unit.chains)
        return all(a in present or b in present for a, b in zip(unit.outputs, dropped, strict=True))

    for goal in goals:
        if isinstance(goal, SummaryUnit):
            visit(goal)
    return list(found.values())


def goal_units(
    config: PipelineConfig, model: ModelInfo, info: TokensInfo, goal: Goal
) -> list[Unit]:
    """The units that were asked for; what they need comes with them."""
    groups = groups_of(config, model)
    probe = info.splits["probe"]

    def measured(part: str, sisters: Sequence[str]) -> list[SummaryUnit]:
        if (upsample := config.upsample) is not None:
            predicted = upsample_units(
                num_measured=upsample.num_shards,
                shard_sizes=probe.shard_sizes,
                num_folds=upsample.num_folds,
                tokens=TokensUnit(),
                probe_sha256=info.probe_sha256,
            )
            return [predicted]
        units = measurement_units(
            part=part,
            sisters=sisters,
            groups=groups,
            model=model,
            companies=partial(config.chain.batches, config.run.chains_per_unit),
            num_shards=probe.num_shards,
            tokens=TokensUnit(),
        )
        return [dataclasses.replace(unit, probe_sha256=info.probe_sha256) for unit in units]

    sisters = list(config.sisters)
    alone = [part for part in config.parts if part and part not in sisters]
    summaries = measured("", sisters) + [unit for part in alone for unit in measured(part, [])]
    # Shards are goals of their own: one that was lost is made again even if its summary is there.
    goals: list[Unit] = [unit for summary in summaries for unit in (*summary.needs, summary)]
    clusters = [_clusters(summary, config, info) for summary in summaries]
    if goal in (Goal.CLUSTER, Goal.REPORT):
        goals += clusters
    if goal is Goal.REPORT:
        goals.append(
            ReportUnit(
                probe_sha256=info.probe_sha256,
                clusters=config.run.clusters,
                needs=tuple(clusters),
            )
        )
    return goals


def _clusters(measured: SummaryUnit, config: PipelineConfig, info: TokensInfo) -> ClusterUnit:
    """Clusters of one measurement."""
    shard_rows = rows_of_shards(info.splits["probe"].shard_sizes, info.context)
    return cluster_units(
        measured,
        config.cluster,
        Layout(shard_rows=shard_rows, block_rows=config.cluster.neighbour_rows),
        info.probe_sha256,
        folder=config.run.clusters,
        with_stability=config.with_stability,
    )
