"""What a run consists of, from `run.yaml` and the tokens' marker alone: no model is loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from spectro.config import PipelineConfig
from spectro.formats.tokens import MARKER, read_info
from spectro.measure.units import TokensUnit
from spectro.pipeline.goals import goal_units
from spectro.pipeline.stages import STAGES
from spectro.storage.store import Store
from spectro.work.model_info import ModelInfo
from spectro.work.registry import StageRegistry
from spectro.work.stage import Goal
from spectro.work.units import Unit


@dataclass(frozen=True, kw_only=True)
class Expected:
    """All units of a run."""

    units: tuple[Unit, ...]
    """Needs before those that need them."""
    num_shards: int | None
    """Probe shards; None while the tokens are not there, and nothing after them is known."""
    probe_sha256: str | None
    """Of the probe tokens."""

    def undone(self, present: Collection[str]) -> list[Unit]:
        """Units whose work is not there."""
        return [unit for unit in self.units if not unit.is_done(present)]


def expected_units(
    store: Store,
    config: PipelineConfig,
    model: ModelInfo,
    present: Collection[str],
    stages: StageRegistry = STAGES,
) -> Expected:
    """The units of a run, as far as the page.

    Args:
        store: of the run.
        config: its configuration.
        model: its model's shape.
        present: objects that are there.
        stages: that it may have.

    Raises DamagedObjectError if the marker of the tokens is damaged.
    """
    if MARKER not in present:
        return Expected(units=(TokensUnit(),), num_shards=None, probe_sha256=None)
    info = read_info(store)
    found: dict[str, Unit] = {}

    def visit(unit: Unit) -> None:
        if unit.id not in found:
            is_found = not unit.is_intermediate and all(name in present for name in unit.outputs)
            for need in _needs(unit, without_intermediate=is_found):
                visit(need)
            found[unit.id] = unit

    for goal in goal_units(config, model, info, Goal.REPORT, stages):
        visit(goal)
    return Expected(
        units=tuple(found.values()),
        num_shards=info.splits["probe"].num_shards,
        probe_sha256=info.probe_sha256,
    )


def _needs(unit: Unit, *, without_intermediate: bool) -> Iterator[Unit]:
    """What a unit needs, or what its intermediate needs (kNN lists) are made from in the end."""
    for need in unit.needs:
        if without_intermediate and need.is_intermediate:
            yield from _needs(need, without_intermediate=True)
        else:
            yield need
