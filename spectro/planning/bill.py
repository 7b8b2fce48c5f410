"""The bill of a run: what it did, from its own records, beside what was planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from spectro.config import PipelineConfig
from spectro.formats import tokens
from spectro.formats.chain_records import ChainRecord, read_pilot, read_record
from spectro.formats.product import SUMMARY_NAME
from spectro.measure.sampled_groups import groups_of
from spectro.models.size import ModelSize
from spectro.planning.config import Assumptions
from spectro.planning.courses import (
    CoursesByGroup,
    assumed_courses,
    count_run,
    measurement_of,
    total,
    with_shared,
)
from spectro.planning.plan import Plan, part_label
from spectro.planning.unit_counts import ChainLengths, Courses, MeasurementSize, Work
from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.pilot.pilot import top_k_components
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class BillLine:
    """One stage of one part of a run, as it was."""

    part: str
    """`posterior`, `control`, or another nβ's, `nbeta-3`."""
    stage: str
    """As progress shows it."""
    planned: Work
    """What the plan expected."""
    done: Work
    """What the draws that were really made took; units done twice are not in it."""
    planned_seconds: float
    """Of all devices together, by the plan's rates."""
    seconds: float | None
    """Of all devices together, as the units recorded it; None where they record none."""


@dataclass(frozen=True, kw_only=True)
class StageWork:
    """One stage of one part of a run: its work alone, whatever the rates of a device are."""

    part: str
    """`posterior`, `control`, or another nβ's, `nbeta-3`."""
    stage: str
    """As progress shows it."""
    planned: Work
    """What the configuration lets expect; bytes that are read again are not in it."""
    done: Work
    """What the draws that were really made took; as above."""
    seconds: float | None
    """As `BillLine`."""


@dataclass(frozen=True, kw_only=True)
class RecordedWork:
    """What a finished run did, from its records alone."""

    stages: tuple[StageWork, ...]
    """The posterior's, then the other parts'."""
    num_forward_tokens: int
    """Tokens scored, once for every draw of every component, `full` too."""


def make_bill(plan: Plan, config: PipelineConfig) -> tuple[BillLine, ...]:
    """What a finished run did, beside its plan.

    Raises ValueError if the run is not finished.
    """
    lines: list[BillLine] = []
    parts = _measured_parts(config, plan.size)
    courses = {p.name: courses_of_run(p.store, p.config, plan.size, p.num_shards) for p in parts}
    m = {p.name: p.measurement for p in parts}
    batches = partial(plan.device.num_batches, m[""])
    done = count_run(config, m, courses, batches, num_setups=plan.device.num_devices)
    for part in parts:
        seconds = recorded_seconds(part.store)
        lines += [
            BillLine(
                part=stage.part,
                stage=stage.stage,
                planned=stage.work,
                done=total(done[part.name][stage.stage]),
                planned_seconds=stage.device_seconds,
                seconds=seconds.get(stage.stage),
            )
            for stage in plan.stages
            if stage.part == part_label(part.name) and stage.stage in done[part.name]
        ]
    return tuple(lines)


def recorded_work(config: PipelineConfig, size: ModelSize) -> RecordedWork:
    """What a finished run did, beside what its configuration let expect of the tokens it has.

    Raises ValueError if the run is not finished, FileNotFoundError where its records are gone.
    """
    stages: list[StageWork] = []
    parts = _measured_parts(config, size)
    m = {p.name: p.measurement for p in parts}
    assumed = {p.name: assumed_courses(p.config, size, Assumptions(), p.num_shards) for p in parts}
    courses = {p.name: courses_of_run(p.store, p.config, size, p.num_shards) for p in parts}
    expected = count_run(config, m, assumed, _one_batch)
    done = count_run(config, m, courses, _one_batch)
    for part in parts:
        seconds = recorded_seconds(part.store)
        stages += [
            StageWork(
                part=part_label(part.name),
                stage=stage,
                planned=total(expected[part.name][stage]),
                done=total(units),
                seconds=seconds.get(stage),
            )
            for stage, units in done[part.name].items()
            if total(units).num_units
        ]
    num_forward_tokens = 0
    for own in with_shared(config, courses).values():
        for shard, num_seq in enumerate(m[""].shard_sizes):
            num_draws = _num_scored(own, config.chain.of_shard(shard))
            num_forward_tokens += num_seq * m[""].context * num_draws
    return RecordedWork(stages=tuple(stages), num_forward_tokens=num_forward_tokens)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A measured part of a run."""

    name: str
    store: Store
    config: PipelineConfig
    measurement: MeasurementSize

    @property
    def num_shards(self) -> int:
        """Token shards."""
        return len(self.measurement.shard_sizes)


def _measured_parts(config: PipelineConfig, size: ModelSize) -> list[_Part]:
    """Parts of a run, with what their counts depend on; ValueError if one is not measured."""
    root = Store(config.run.uri)
    parts = {part: (root.child(part), own) for part, own in config.parts.items()}
    for store, _ in parts.values():
        if not store.exists(SUMMARY_NAME):
            raise ValueError(f"{store.uri} is not measured yet: a bill needs {SUMMARY_NAME}")
    measured = tokens.read_info(root).splits["probe"].shard_sizes  # with what was added
    return [
        _Part(
            name=part,
            store=store,
            config=own,
            measurement=replace(measurement_of(own, size), shard_sizes=measured),
        )
        for part, (store, own) in parts.items()
    ]


def _one_batch(num_seq: int, listed: bool) -> int:
    return 1


def _num_scored(courses: CoursesByGroup, chains: Sequence[int]) -> int:
    """Draws of some chains that a part scores itself."""
    every = (c for own in courses.values() for chain in chains for c in own[chain].values())
    return sum(course.num_draws for course in every if not course.shared)


def courses_of_run(
    store: Store, config: PipelineConfig, size: ModelSize, num_shards: int = 1
) -> dict[str, list[Courses]]:
    """Group → chain → component → how its draws really came about, from the chains' markers.

    Of the chains of the first so many token shards.
    """
    found: dict[str, list[Courses]] = {}
    for group in groups_of(config, size):
        pilot = read_pilot(store, group.name)
        listed = top_k_components(config.scoring, pilot)
        found[group.name] = [
            courses_of(read_record(store, group.name, chain, or_dropped=True), listed, pilot)
            for chain in config.chain.of_shards(num_shards)
        ]
    return found


def recorded_seconds(store: Store) -> dict[str, float]:
    """Device seconds by stage, of those that record it."""
    found = read_sealed(store, SUMMARY_NAME)["seconds"]
    return {stage: float(seconds) for stage, seconds in found.items()}


def courses_of(
    record: ChainRecord, listed: frozenset[str], pilot: Mapping[str, PosteriorMoments]
) -> Courses:
    """Component → how its draws came about in one chain."""

    def course(name: str, chain: ComponentChain) -> ChainLengths:
        between = 0 if chain.independent else max(1, chain.steps_between_draws)
        burnin = len(chain.step_loss) - (len(chain.delta_loss) - 1) * between - 1
        return ChainLengths(
            independent=chain.independent,
            num_draws=len(chain.delta_loss),
            steps_between_draws=between,
            listed=name in listed,
            corrected=chain.corrected,
            num_burnin_steps=burnin if chain.corrected else None,
            num_pilot_steps=pilot[name].num_steps,
        )

    return {name: course(name, chain) for name, chain in record.components.items()}
