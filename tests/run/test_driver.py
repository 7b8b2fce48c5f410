"""The driver: order, retry budgets, stop conditions, with units that do nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from spectro.formats.sessions import Heartbeat, RunningUnit, read_failures, read_heartbeats
from spectro.pipeline.stages import STAGES
from spectro.storage.store import Store
from spectro.work.config import RunConfig
from spectro.work.driver import Driver
from spectro.work.errors import LimitReachedError, StoppedError, UnitError
from spectro.work.heartbeats import HeartbeatWriter
from spectro.work.invocation import limits_of
from spectro.work.outcome import Outcome, UnitResult, WorkerCounts
from spectro.work.progress import Progress
from spectro.work.retry_budgets import RetryBudgets
from spectro.work.stop_conditions import RunLimits, StopConditions
from spectro.work.units import Unit
from spectro.work.worker_kinds import Demand, WorkerKind
from tests.run.made_units import GROUPS, all_units, goal

Drive = Callable[..., Driver]


@dataclass
class FakePool:
    """Finishes the oldest unit at every wait, or lets it end as it was told."""

    size: int = 2
    fates: dict[str, list[UnitResult]] = field(default_factory=dict)
    """Unit id → how it ends, time after time, before it is done."""
    started: list[Unit] = field(default_factory=list)
    in_work: list[Unit] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    stuck: bool = False
    """Whether nothing ever ends."""
    share: float = 0.5
    left: bool = False
    most: int = 0
    """Units at work at once, at most."""
    demands: list[Demand] = field(default_factory=list)
    has_gpus: bool = False
    """Whether there are two kinds of workers, so many of each."""
    shares: dict[str, list[float]] = field(default_factory=dict)
    """Unit id → share at which its worker is lost, time after time."""
    counts: WorkerCounts = field(
        default_factory=lambda: WorkerCounts(num_workers=2, num_starting=0, worker_seconds=0)
    )

    def kind_of(self, unit: Unit) -> WorkerKind:
        return WorkerKind.GPU if self.has_gpus and unit.needs_model else WorkerKind.CPU

    def adjust(self, demand: Demand) -> None:
        self.demands.append(demand)

    def idle(self) -> dict[WorkerKind, int]:
        kinds = list(WorkerKind) if self.has_gpus else [WorkerKind.CPU]
        busy = [self.kind_of(unit) for unit in self.in_work]
        return {kind: self.size - busy.count(kind) for kind in kinds}

    def submit(self, unit: Unit) -> None:
        assert all(need.id in self.finished for need in unit.needs), unit.id
        self.started.append(unit)
        self.in_work.append(unit)
        self.most = max(self.most, len(self.in_work))

    def wait(self, seconds: float) -> list[Outcome]:
        if self.left:
            back, self.in_work = self.in_work, []
            return [Outcome(unit_id=unit.id, result=UnitResult.HANDED_BACK) for unit in back]
        if self.stuck or not self.in_work:
            return []
        unit = self.in_work.pop(0)
        if self.fates.get(unit.id):
            result = self.fates[unit.id].pop(0)
            share = self.shares[unit.id].pop(0) if self.shares.get(unit.id) else 0.0
            return [
                Outcome(unit_id=unit.id, result=result, error="it broke", trace="...", share=share)
            ]
        self.finished.append(unit.id)
        return [Outcome(unit_id=unit.id, seconds=1.0)]

    def running(self) -> list[RunningUnit]:
        return [
            RunningUnit(unit=unit.id, worker="w", seconds=0, share=self.share)
            for unit in self.in_work
        ]

    def request_stop(self) -> None:
        self.left = True

    def worker_counts(self) -> WorkerCounts:
        return self.counts


class Ticks:
    """A clock that goes on by one second at every look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def drive(tmp_path: Path) -> Callable[..., Driver]:
    """Factory of drivers that tell a store in a folder."""

    def make(pool: FakePool, stop: StopConditions | None = None, **more: Any) -> Driver:
        return Driver(
            pool=pool,
            progress=more.pop("progress", Progress()),
            heartbeats=HeartbeatWriter(
                Store(str(tmp_path)), RunConfig(uri=str(tmp_path), beat_seconds=1e9), device="cpu"
            ),
            stop=stop or StopConditions(0.0),
            clock=Ticks(),
            **more,
        )

    return make


def test_everything_is_done_once_after_what_it_needs(drive: Drive) -> None:
    for size in (1, 2, 7):
        pool = FakePool(size=size)
        driver = drive(pool)
        assert driver.run(all_units()) == []
        ids = [unit.id for unit in pool.started]
        assert len(ids) == len(set(ids)) == 1 + 3 + 3 * 2 + 3 * 3 + 3 + 1
        assert pool.demands[0].left == len(ids) and pool.demands[-1].left == 1


def test_costly_groups_come_first_and_the_tiles_of_a_group_together(drive: Drive) -> None:
    pool = FakePool(size=1)
    drive(pool).run(all_units())
    pilots = [unit.id for unit in pool.started if unit.stage == "pilot"]
    assert pilots == [f"chains/{name}/pilot.json" for name in ("l0", "l1", "full")]
    tiles = [unit.id.split("/")[-1] for unit in pool.started if unit.stage == "tiles"]
    assert len([name for name, _ in itertools.groupby(tiles)]) == len(GROUPS)
    last = [unit.stage for unit in pool.started][-4:]
    assert last == ["assembly"] * 4


CHAIN = "chains/l0/1.json"


def test_a_crash_costs_its_unit_until_patience_ends(drive: Drive) -> None:
    pool = FakePool(fates={CHAIN: [UnitResult.CRASHED] * 2})
    drive(pool, budgets=RetryBudgets(crashes=3)).run(all_units())
    assert [u.id for u in pool.started].count(CHAIN) == 3
    pool = FakePool(size=1, fates={CHAIN: [UnitResult.CRASHED] * 3})
    message = r"set aside.*: chains/l0/1\.json \(the first: its worker died 3 times.*\d+ units wait"
    with pytest.raises(UnitError, match=message):
        drive(pool, budgets=RetryBudgets(crashes=3)).run(all_units())
    assert "tiles/00000/full.safetensors" in pool.finished
    assert "tiles/00000/l0.safetensors" not in pool.finished


def test_preemptions_and_units_handed_back_cost_no_patience(drive: Drive) -> None:
    fates = (
        [UnitResult.PREEMPTED, UnitResult.HANDED_BACK] * 20
        + [UnitResult.CRASHED] * 2
        + [UnitResult.FAILED] * 2
    )
    pool = FakePool(fates={CHAIN: fates})
    assert drive(pool, budgets=RetryBudgets(errors=3, crashes=3)).run(all_units()) == []
    assert [u.id for u in pool.started].count(CHAIN) == 45


def test_errors_do_not_hide_behind_retries(drive: Drive, tmp_path: Path) -> None:
    pool = FakePool(size=1, fates={CHAIN: [UnitResult.FAILED] * 3})
    driver = drive(pool, budgets=RetryBudgets(errors=3))
    with pytest.raises(UnitError, match=r"set aside after repeated failure: chains/l0/1.*it broke"):
        driver.run(all_units())
    driver.heartbeats.close(pool, "failed")
    store = Store(str(tmp_path))
    failures = read_failures(store, store.list())
    assert [(f.unit, f.kind, f.message) for f in failures] == [(CHAIN, "failed", "it broke")] * 3
    (beat,) = read_heartbeats(store, store.list())
    assert beat.errors == 3 and beat.set_aside == {CHAIN: "it broke"} and beat.ended == "failed"


def test_a_refused_unit_ends_the_run_and_the_others_are_handed_back(drive: Drive) -> None:
    pool = FakePool(size=3, fates={CHAIN: [UnitResult.REFUSED]})
    with pytest.raises(UnitError, match=r"^it broke$"):
        drive(pool).run(all_units())
    assert pool.left and not pool.in_work
    assert not [unit for unit in pool.finished if unit.startswith("tiles")]


class AllAtOnce(FakePool):
    """Everything that is at work ends at the same wait."""

    def wait(self, seconds: float) -> list[Outcome]:
        return [o for _ in list(self.in_work) for o in FakePool.wait(self, seconds)]


def test_what_ended_beside_a_refused_unit_is_booked(
    drive: Drive, caplog: pytest.LogCaptureFixture
) -> None:
    pool = AllAtOnce(size=9, fates={CHAIN: [UnitResult.REFUSED]})
    driver = drive(pool)
    with pytest.raises(UnitError, match=r"^it broke$"):
        driver.run(all_units())
    assert "not handed back in time" not in caplog.text
    assert driver.clock() < driver.stop.drain_seconds


def test_a_stage_that_never_succeeded_fails_fast(drive: Drive) -> None:
    first = next(unit.id for unit in all_units() if unit.stage == "chains")
    pool = FakePool(size=1, fates={first: [UnitResult.FAILED] * 2})
    with pytest.raises(UnitError, match=rf"^unit {first}: it broke"):
        drive(pool, budgets=RetryBudgets(errors=2)).run(all_units())
    assert len(pool.started) == 1 + 1 + 2  # tokens, its pilot, the chain twice


def test_one_unit_goes_before_the_crowd(drive: Drive) -> None:
    tokens_done = {"tokens/tokens.json"}
    rest = STAGES.required([goal()], tokens_done)
    pool = FakePool(size=9, share=0.0, fates={rest[0].id: [UnitResult.FAILED] * 3})
    pool.finished.append("tokens/tokens.json")
    with pytest.raises(UnitError):
        drive(pool).run(rest)
    assert pool.most == 1
    pool = FakePool(size=9, share=0.0)
    pool.finished.append("tokens/tokens.json")
    drive(pool).run(rest)
    assert pool.started[0].id == rest[0].id and pool.most > 1


def test_the_first_unit_of_a_kind_goes_before_the_others_of_that_kind(drive: Drive) -> None:
    pool = FakePool(size=9, share=0.0, has_gpus=True)
    drive(pool).run(all_units())
    tokens, pilot, *_ = pool.started
    assert (tokens.stage, pilot.stage) == ("tokens", "pilot")
    before = [d for d in pool.demands if WorkerKind.GPU not in d.proven]
    assert {d.now.get(WorkerKind.GPU, 0) for d in before} == {0, len(GROUPS)}
    assert WorkerKind.CPU in before[-1].proven  # tokens prove nothing of a GPU worker


LOST = [UnitResult.LOST] * 4


def test_a_unit_that_takes_its_machine_with_it_is_set_aside(drive: Drive) -> None:
    pool = FakePool(fates={CHAIN: list(LOST)})
    with pytest.raises(UnitError, match=r"chains/l0/1.*machine was lost 4 times.*memory or disk"):
        drive(pool, budgets=RetryBudgets(losses=4)).run(all_units())
    assert [u.id for u in pool.started].count(CHAIN) == 4
    # one that gets further each time is on machines that are taken away: it goes on
    pool = FakePool(fates={CHAIN: LOST * 5}, shares={CHAIN: [n / 20 for n in range(20)]})
    assert drive(pool, budgets=RetryBudgets(losses=4)).run(all_units()) == []


def test_the_budget_of_gpu_time_ends_the_run_in_order(drive: Drive) -> None:
    counts = WorkerCounts(
        num_workers=4, num_starting=0, worker_seconds=0.0, num_gpus=4, gpu_seconds_held=7000.0
    )
    limits = RunLimits(gpu_seconds=3600 * 2.5, gpu_seconds_before=2000.0, gpu_limit="run.max_cost")
    pool = FakePool(size=4, stuck=True, counts=counts)
    driver = drive(pool, stop=StopConditions(0.0, limits=limits, drain_seconds=5))
    message = r"run\.max_cost reached: .* 2\.50 hours of 2\.50"
    with pytest.raises(LimitReachedError, match=message):
        driver.run(all_units())
    assert pool.left and not pool.started


def test_waiting_for_a_machine_is_not_idleness(drive: Drive) -> None:
    waits = WorkerCounts(num_workers=0, num_starting=1, worker_seconds=0.0, none_has_a_machine=True)
    pool = FakePool(size=0, counts=waits)
    stop = StopConditions(0.0, limits=RunLimits(deadline_seconds=500), idle_seconds=20)
    with pytest.raises(LimitReachedError, match="deadline_hours"):
        drive(pool, stop=stop).run(all_units())
    starts = WorkerCounts(num_workers=0, num_starting=1, worker_seconds=0.0)
    stop = StopConditions(0.0, limits=RunLimits(deadline_seconds=500), idle_seconds=20)
    with pytest.raises(StoppedError, match="nothing has moved"):
        drive(FakePool(size=0, counts=starts), stop=stop).run(all_units())


def test_attempts_of_a_job_share_its_deadline() -> None:
    beat = Heartbeat(
        session="a", number=0, started=0.0, time=5000.0, host="", process=0, ended=None,
        device="cuda", num_workers=0, worker_seconds=0.0, stages={}, job="j",
        gpu_seconds_held=1800.0,
    )  # fmt: skip
    other = replace(beat, job="k", started=4000.0)
    run = RunConfig(uri="r", job="j", deadline_hours=1.5, price_per_gpu_hour=2.0, max_cost=3.0)
    limits = limits_of(run, [beat, other])
    assert limits == RunLimits(
        deadline_seconds=5400.0, seconds_before=5000.0, gpu_seconds=5400.0,
        gpu_seconds_before=3600.0, gpu_limit="run.max_cost",
    )  # fmt: skip
    assert isinstance(StopConditions(0.0, limits=limits).error(400.0), LimitReachedError)
    assert limits_of(replace(run, job=None), [beat]).seconds_before == 0.0


def test_missing_objects_are_told_not_tried_again(drive: Drive) -> None:
    part = "susceptibilities/part-00001.parquet"
    pool = FakePool(fates={part: [UnitResult.MISSING]})
    assert drive(pool).run(all_units()) == [part]
    assert [u.id for u in pool.started].count(part) == 1
    assert "assembly/summary.json" not in pool.finished


@pytest.mark.parametrize("reason", ["told", "deadline", "idle"])
def test_a_stop_hands_everything_back(drive: Drive, reason: str) -> None:
    stop = StopConditions(
        0.0,
        limits=RunLimits(deadline_seconds=20 if reason == "deadline" else None),
        idle_seconds=20 if reason == "idle" else None,
    )
    pool = FakePool(size=4, stuck=reason != "told")
    if reason == "told":
        stop.requested.set()
    message = {"told": "SIGTERM", "deadline": "deadline_hours", "idle": "nothing has moved"}
    with pytest.raises(StoppedError, match=message[reason]):
        drive(pool, stop=stop).run(all_units())
    assert pool.left and not pool.in_work
    assert len(pool.started) == (0 if reason == "told" else 1)


def test_what_moves_is_not_idle() -> None:
    stop = StopConditions(0.0, idle_seconds=10)
    for now in range(5, 50, 5):
        stop.shares({"a": now / 50}, now)
        assert stop.error(now + 4) is None
    assert "nothing has moved for 0:10" in str(stop.error(55))


def test_progress_ends_at_its_total_in_every_stage(drive: Drive) -> None:
    progress = Progress()
    drive(FakePool(), progress=progress).run(all_units())
    assert list(progress.stages) == ["tokens", "pilot", "chains", "tiles", "assembly"]
    for stage in progress.stages.values():
        assert stage.done == pytest.approx(stage.total)
        assert stage.ended is not None
