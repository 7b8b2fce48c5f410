"""The driver: order, retry budgets, stop conditions, with units that do nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from spectro.formats.sessions import RunningUnit, read_failures, read_heartbeats
from spectro.pipeline.stages import STAGES
from spectro.storage.store import Store
from spectro.work.driver import Driver
from spectro.work.errors import StoppedError, UnitError
from spectro.work.heartbeats import HeartbeatWriter
from spectro.work.outcome import Outcome, UnitResult, WorkerCounts
from spectro.work.progress import Progress
from spectro.work.retry_budgets import RetryBudgets
from spectro.work.stop_conditions import StopConditions
from spectro.work.units import Unit
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
    tended: list[int] = field(default_factory=list)

    def adjust(self, units_left: int) -> None:
        self.tended.append(units_left)

    def idle(self) -> int:
        return self.size - len(self.in_work)

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
            return [Outcome(unit_id=unit.id, result=result, error="it broke", trace="...")]
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
        return WorkerCounts(num_workers=self.size, num_starting=0, worker_seconds=0)


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
            heartbeats=HeartbeatWriter(Store(str(tmp_path)), device="cpu", beat_seconds=1e9),
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
        assert pool.tended[0] == len(ids) and pool.tended[-1] == 1


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
        deadline_seconds=20 if reason == "deadline" else None,
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
        assert stop.reason(now + 4) is None
    assert "nothing has moved for 0:10" in str(stop.reason(55))


def test_progress_ends_at_its_total_in_every_stage(drive: Drive) -> None:
    progress = Progress()
    drive(FakePool(), progress=progress).run(all_units())
    assert list(progress.stages) == ["tokens", "pilot", "chains", "tiles", "assembly"]
    for stage in progress.stages.values():
        assert stage.done == pytest.approx(stage.total)
        assert stage.ended is not None
