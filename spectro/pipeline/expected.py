"""What a run consists of, from `run.yaml` and the tokens' marker alone, and what of it is done.

No model is loaded: `run.yaml` keeps the model's shape. Tiles are removed when their shard is
assembled, features when the networks that learnt from them are judged, pairs of blocks when the
lists of both are there, and a chain's marker is renamed when its draws are dropped: all count as
done.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from spectro.cluster_stage.units import ClusterUnit, ListsUnit, PairUnit
from spectro.config import PipelineConfig
from spectro.formats.chain_names import dropped_name
from spectro.formats.clusters.knn_lists import lists_name
from spectro.formats.predictors import HELD_OUT
from spectro.formats.tokens import MARKER, read_info
from spectro.pipeline.goals import Goal, goal_units
from spectro.storage.store import Store
from spectro.upsampling.units import FeaturesUnit
from spectro.work.model_info import ModelInfo
from spectro.work.units import (
    AssemblyUnit,
    ChainUnit,
    TileUnit,
    TokensUnit,
    Unit,
)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """All units of a run."""

    parts: tuple[str, ...]
    """Empty string for the run, `control`, `nbeta-3`."""
    units: tuple[Unit, ...]
    """Needs before those that need them."""
    num_shards: int | None
    """Probe shards; None while the tokens are not there, and nothing after them is known."""
    probe_sha256: str | None
    """Of the probe tokens."""

    def is_done(self, unit: Unit, present: Collection[str]) -> bool:
        """Whether a unit's work is there, also where its objects have done their duty."""
        return not self.absent(unit, present)

    def undone(self, present: Collection[str]) -> list[Unit]:
        """Units whose work is not there."""
        return [unit for unit in self.units if not self.is_done(unit, present)]

    def absent(self, unit: Unit, present: Collection[str]) -> list[str]:
        """Objects of a unit that are not there and should be."""
        lacking = [name for name in unit.outputs if name not in present]
        if isinstance(unit, TileUnit):
            shard = AssemblyUnit(part=unit.part, sisters=unit.sisters, shard=unit.shard, groups=())
            assembled = all(name in present for name in shard.outputs)
            return [] if assembled else lacking
        prefix = f"{unit.part}/" if unit.part else ""
        if isinstance(unit, FeaturesUnit) and HELD_OUT in present:
            return []
        if isinstance(unit, PairUnit):
            both = [f"{prefix}{lists_name(unit.key, b)}" for b in (unit.first, unit.second)]
            return [] if all(name in present for name in both) else lacking
        if isinstance(unit, ChainUnit):
            dropped = {
                f"{prefix}{name}": f"{prefix}{dropped_name(unit.group.name, chain)}"
                for name, chain in zip(unit.names, unit.chains, strict=True)
            }
            return [name for name in lacking if dropped[name] not in present]
        return lacking


def expected_units(
    store: Store, config: PipelineConfig, model: ModelInfo, present: Collection[str]
) -> Expected:
    """The units of a run, as far as the page.

    Args:
        store: of the run.
        config: its configuration.
        model: its model's shape.
        present: objects that are there.

    Raises DamagedObjectError if the marker of the tokens is damaged.
    """
    parts = tuple(config.parts)
    if MARKER not in present:
        return Expected(parts=parts, units=(TokensUnit(),), num_shards=None, probe_sha256=None)
    info = read_info(store)
    return Expected(
        parts=parts,
        units=tuple(_all_of(goal_units(config, model, info, Goal.REPORT), present)),
        num_shards=info.splits["probe"].num_shards,
        probe_sha256=info.probe_sha256,
    )


def _all_of(goals: Iterable[Unit], present: Collection[str]) -> list[Unit]:
    """All units, but for those that only led to clusters which are there: neighbour lists."""
    found: dict[str, Unit] = {}

    def visit(unit: Unit) -> None:
        if unit.id not in found:
            is_found = isinstance(unit, ClusterUnit) and all(n in present for n in unit.outputs)
            for need in _sources(unit) if is_found else unit.needs:
                visit(need)
            found[unit.id] = unit

    for goal in goals:
        visit(goal)
    return list(found.values())


def _sources(unit: Unit) -> Iterator[Unit]:
    """What a unit is made from, lists apart."""
    for need in unit.needs:
        if isinstance(need, ListsUnit):
            yield from _sources(need)
        else:
            yield need
