"""The bill of a run: what it did, from its own records, beside what was planned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from spectro.models.size import ModelSize
from spectro.run.config import CONTROL, PipelineConfig
from spectro.run.counts import Course, Courses, Measurement, Work
from spectro.run.courses import Assumptions, assumed_courses, count_part, measurement_of, total
from spectro.run.groups import groups_of
from spectro.run.plan import Plan
from spectro.sampling.pilot import Moments, listed_components
from spectro.sampling.recorder import ComponentChain
from spectro.storage import tokens
from spectro.storage.draws import ChainRecord, read_pilot, read_record
from spectro.storage.fs import Store
from spectro.storage.product import SUMMARY_NAME
from spectro.storage.sealed import read_sealed


@dataclass(frozen=True, kw_only=True)
class BillLine:
    """One stage of one part of a run, as it was."""

    part: str
    """`posterior` or `control`."""
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
    """`posterior` or `control`."""
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
    """The posterior's, then the control's."""
    num_forward_tokens: int
    """Tokens scored, once for every draw of every component, `full` too."""


def make_bill(plan: Plan, config: PipelineConfig) -> tuple[BillLine, ...]:
    """What a finished run did, beside its plan.

    Raises ValueError if the run is not finished.
    """
    lines: list[BillLine] = []
    for part, store, own, m in _measured_parts(config, plan.size):
        courses = courses_of_run(store, own, plan.size, len(m.shard_sizes))

        batches = partial(plan.device.num_batches, m)
        setups = plan.device.num_devices if part == "posterior" else 0
        done = count_part(own, m, courses, batches, num_setups=setups)
        seconds = recorded_seconds(store)
        lines += [
            BillLine(
                part=part,
                stage=stage.stage,
                planned=stage.work,
                done=total(done[stage.stage]),
                planned_seconds=stage.device_seconds,
                seconds=seconds.get(stage.stage),
            )
            for stage in plan.stages
            if stage.part == part and stage.stage in done
        ]
    return tuple(lines)


def recorded_work(config: PipelineConfig, size: ModelSize) -> RecordedWork:
    """What a finished run did, beside what its configuration let expect of the tokens it has.

    Raises ValueError if the run is not finished, FileNotFoundError where its records are gone.
    """
    stages: list[StageWork] = []
    num_forward_tokens = 0
    for part, store, own, m in _measured_parts(config, size):
        num_shards = len(m.shard_sizes)
        courses = courses_of_run(store, own, size, num_shards)
        count = partial(count_part, own, m, num_batches=_one_batch)
        setups = 1 if part == "posterior" else 0
        assumed = assumed_courses(own, size, Assumptions(), num_shards)
        expected = count(assumed, num_setups=setups)
        done = count(courses, num_setups=setups)
        seconds = recorded_seconds(store)
        stages += [
            StageWork(
                part=part,
                stage=stage,
                planned=total(expected[stage]),
                done=total(units),
                seconds=seconds.get(stage),
            )
            for stage, units in done.items()
            if total(units).num_units
        ]
        for shard, num_seq in enumerate(m.shard_sizes):
            num_draws = _num_draws(courses, own.chain.of_shard(shard))
            num_forward_tokens += num_seq * m.context * num_draws
    return RecordedWork(stages=tuple(stages), num_forward_tokens=num_forward_tokens)


def _measured_parts(
    config: PipelineConfig, size: ModelSize
) -> Iterator[tuple[str, Store, PipelineConfig, Measurement]]:
    """Parts of a run, with what their counts depend on; ValueError if one is not measured."""
    root = Store(config.run.uri)
    parts = {"posterior": (root, config)}
    if config.control:
        parts["control"] = (root.child(CONTROL), config.as_control())
    for store, _ in parts.values():
        if not store.exists(SUMMARY_NAME):
            raise ValueError(f"{store.uri} is not measured yet: a bill needs {SUMMARY_NAME}")
    measured = tokens.read_info(root).splits["probe"].shard_sizes  # with what was added
    for part, (store, own) in parts.items():
        yield part, store, own, replace(measurement_of(own, size), shard_sizes=measured)


def _one_batch(num_seq: int, listed: bool) -> int:
    return 1


def _num_draws(courses: Mapping[str, Sequence[Courses]], chains: Sequence[int]) -> int:
    return sum(c.num_draws for own in courses.values() for i in chains for c in own[i].values())


def courses_of_run(
    store: Store, config: PipelineConfig, size: ModelSize, num_shards: int = 1
) -> dict[str, list[Courses]]:
    """Group → chain → component → how its draws really came about, from the chains' markers.

    Of the chains of the first so many token shards.
    """
    found: dict[str, list[Courses]] = {}
    for group in groups_of(config, size):
        pilot = read_pilot(store, group.name)
        listed = listed_components(config.scoring, pilot)
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
    record: ChainRecord, listed: frozenset[str], pilot: Mapping[str, Moments]
) -> Courses:
    """Component → how its draws came about in one chain."""

    def course(name: str, chain: ComponentChain) -> Course:
        between = 0 if chain.independent else max(1, chain.steps_between_draws)
        burnin = len(chain.step_loss) - (len(chain.delta_loss) - 1) * between - 1
        return Course(
            independent=chain.independent,
            num_draws=len(chain.delta_loss),
            steps_between_draws=between,
            listed=name in listed,
            corrected=chain.corrected,
            num_burnin_steps=burnin if chain.corrected else None,
            num_pilot_steps=pilot[name].num_steps,
        )

    return {name: course(name, chain) for name, chain in record.components.items()}
