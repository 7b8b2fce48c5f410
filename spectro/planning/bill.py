"""The bill of a run: what it did, from its own records, beside what was planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from spectro.config import PipelineConfig
from spectro.formats import tokens
from spectro.formats.product import SUMMARY_NAME
from spectro.models.size import ModelSize
from spectro.planning.config import Assumptions
from spectro.planning.plan import Plan, part_label
from spectro.planning.run_work import UnitsByStage, count_run, measurement_of
from spectro.planning.schedules import (
    SchedulesByGroup,
    assumed_schedules,
    recorded_schedules,
    with_shared,
)
from spectro.planning.unit_work import MeasurementSize, Work, total
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class BillLine:
    """One stage of one part of a run."""

    part: str
    """`posterior`, `control`, or another nβ's, `nbeta-3`."""
    stage: str
    """As progress shows it."""
    planned: Work
    """What the plan expected; without a plan, what the configuration lets expect."""
    done: Work
    """What the draws that were really made took; units done twice are not in it."""
    planned_seconds: float | None = None
    """Of all devices together, by the plan's rates; None without a plan."""
    seconds: float | None
    """Of all devices together, as the units recorded it; None where they record none."""


@dataclass(frozen=True, kw_only=True)
class RecordedWork:
    """What a finished run did, from its records alone."""

    stages: tuple[BillLine, ...]
    """The posterior's, then the other parts'; bytes that are read again are not in them."""
    num_forward_tokens: int
    """Tokens scored, once for every draw of every component, `full` too."""


def make_bill(plan: Plan, config: PipelineConfig) -> tuple[BillLine, ...]:
    """What a finished run did, beside its plan.

    Raises ValueError if the run is not finished.
    """
    run = _FinishedRun.of(config, plan.size)
    num_batches = partial(plan.device.num_batches, run.m[""])
    done = run.count(run.schedules, num_batches, num_setups=plan.device.num_devices)
    seconds = {part: recorded_seconds(store) for part, store in run.stores.items()}
    return tuple(
        BillLine(
            part=stage.part,
            stage=stage.stage,
            planned=stage.work,
            done=total(done[part][stage.stage]),
            planned_seconds=stage.device_seconds,
            seconds=seconds[part].get(stage.stage),
        )
        for part in run.stores
        for stage in plan.stages
        if stage.part == part_label(part) and stage.stage in done[part]
    )


def recorded_work(config: PipelineConfig, size: ModelSize) -> RecordedWork:
    """What a finished run did, beside what its configuration let expect of the tokens it has.

    Raises ValueError if the run is not finished, FileNotFoundError where its records are gone.
    """
    run = _FinishedRun.of(config, size)
    assumed = {
        part: assumed_schedules(own, size, Assumptions(), len(run.m[part].shard_sizes))
        for part, own in config.parts.items()
    }
    expected, done = (run.count(known, lambda n, listed: 1) for known in (assumed, run.schedules))
    lines = []
    for part, store in run.stores.items():
        seconds = recorded_seconds(store)
        lines += [
            BillLine(
                part=part_label(part),
                stage=stage,
                planned=total(expected[part][stage]),
                done=total(units),
                seconds=seconds.get(stage),
            )
            for stage, units in done[part].items()
            if total(units).num_units
        ]
    return RecordedWork(stages=tuple(lines), num_forward_tokens=run.num_forward_tokens)


def recorded_seconds(store: Store) -> dict[str, float]:
    """Device seconds by stage, of those that record it."""
    found = read_sealed(store, SUMMARY_NAME)["seconds"]
    return {stage: float(seconds) for stage, seconds in found.items()}


@dataclass(frozen=True, kw_only=True)
class _FinishedRun:
    """A measured run's parts: their stores, sizes and recorded schedules."""

    config: PipelineConfig
    stores: dict[str, Store]
    m: dict[str, MeasurementSize]
    schedules: dict[str, SchedulesByGroup]

    @classmethod
    def of(cls, config: PipelineConfig, size: ModelSize) -> _FinishedRun:
        """Raises ValueError if a part is not measured."""
        root = Store(config.run.uri)
        stores = {part: root.child(part) for part in config.parts}
        for store in stores.values():
            if not store.exists(SUMMARY_NAME):
                raise ValueError(f"{store.uri} is not measured yet: a bill needs {SUMMARY_NAME}")
        measured = tokens.read_info(root).splits["probe"].shard_sizes  # with what was added
        return cls(
            config=config,
            stores=stores,
            m={
                part: replace(measurement_of(own, size), shard_sizes=measured)
                for part, own in config.parts.items()
            },
            schedules={
                part: recorded_schedules(stores[part], own, size, len(measured))
                for part, own in config.parts.items()
            },
        )

    def count(
        self,
        schedules: Mapping[str, SchedulesByGroup],
        num_batches: Callable[[int, bool], int],
        num_setups: int = 1,
    ) -> dict[str, UnitsByStage]:
        return count_run(self.config, self.m, schedules, num_batches, num_setups=num_setups)

    @property
    def num_forward_tokens(self) -> int:
        m = self.m[""]
        return sum(
            num_seq * m.context * _num_scored(own, self.config.chain.of_shard(shard))
            for own in with_shared(self.config, self.schedules).values()
            for shard, num_seq in enumerate(m.shard_sizes)
        )


def _num_scored(schedules: SchedulesByGroup, chains: Sequence[int]) -> int:
    """Draws of some chains that a part scores itself."""
    every = (c for own in schedules.values() for chain in chains for c in own[chain].values())
    return sum(schedule.num_draws for schedule in every if not schedule.shared)
