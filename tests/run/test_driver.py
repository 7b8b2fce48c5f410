"""Order, dependencies, losses and time left, with units that do nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from spectro.formats.sessions import RunningUnit, read_failures, read_heartbeats
from spectro.measure.units import SummaryUnit, TokensUnit, measurement_units
from spectro.models.components import FULL_GROUP, Component, ComponentKind, Group
from spectro.pipeline.stages import STAGES
from spectro.sampling.config import ChainConfig
from spectro.storage.store import Store
from spectro.work.driver import Budgets, Driver
from spectro.work.errors import StoppedError, UnitError
from spectro.work.heartbeats import HeartbeatWriter
from spectro.work.model_info import ModelInfo
from spectro.work.outcome import Outcome, UnitResult, WorkerCounts
from spectro.work.progress import Progress, StageProgress, clock, times
from spectro.work.stop_conditions import StopConditions
from spectro.work.unit_queue import UnitQueue
from spectro.work.units import Unit

MODEL = ModelInfo(
    num_layers=2,
    num_heads=2,
    hidden_size=8,
    vocab_size=32,
    max_context=16,
    device="cpu",
    weights_sha256="",
)


def layer(index: int) -> Group:
    names = [f"l{index}h{head}" for head in range(2)]
    return Group(
        name=f"l{index}",
        components=tuple(
            Component(name=n, kind=ComponentKind.HEAD, layer=index, head=h)
            for h, n in enumerate(names)
        ),
    )


Drive = Callable[..., Driver]


@dataclass(frozen=True, kw_only=True)
class Small(Unit):
    name: str

    @property
    def stage(self) -> str:
        return "small"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)


class Large(Small):
    takes_all_cores = True


GROUPS = (layer(0), layer(1), FULL_GROUP)


def goal(num_chains: int = 2, num_shards: int = 3, together: int = 1) -> SummaryUnit:
    (unit,) = measurement_units(
        part="",
        groups=GROUPS,
        model=MODEL,
        companies=partial(ChainConfig(num_chains=num_chains).companies, together),
        num_shards=num_shards,
        tokens=TokensUnit(),
    )
    return unit


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


def test_chains_that_step_together_are_one_unit_until_all_are_done() -> None:
    units = STAGES.required([goal(num_chains=5, together=2)], set())
    chains = [unit for unit in units if unit.stage == "chains" and unit.group.name == "l0"]
    assert [unit.chains for unit in chains] == [(0, 1), (2, 3), (4,)]
    assert chains[0].outputs == ("chains/l0/0.json", "chains/l0/1.json")
    assert chains[0].cost == 2 * chains[2].cost
    everything = {name for unit in units for name in unit.outputs if unit.stage != "assembly"}
    lost = {n for n in everything if not n.startswith("tiles/")} - {"chains/l0/3.json"}
    again = [u.id for u in STAGES.required([goal(num_chains=5, together=2)], lost)]
    assert [name for name in again if name.startswith("chains")] == ["chains/l0/2.json"]


def all_units() -> list[Unit]:
    return STAGES.required([goal()], set())


def test_everything_is_done_once_after_what_it_needs(drive: Drive) -> None:
    for size in (1, 2, 7):
        pool = FakePool(size=size)
        driver = drive(pool)
        assert driver.run(all_units()) == []
        ids = [unit.id for unit in pool.started]
        assert len(ids) == len(set(ids)) == 1 + 3 + 3 * 2 + 3 * 3 + 3 + 1
        assert pool.tended[0] == len(ids) and pool.tended[-1] == 1


def test_chains_come_before_tiles_and_the_tiles_of_a_group_together(drive: Drive) -> None:
    pool = FakePool(size=1)
    drive(pool).run(all_units())
    stages = [name for name, _ in itertools.groupby(unit.stage for unit in pool.started)]
    assert stages == ["tokens", "pilot", "chains", "tiles", "assembly"]
    tiles = [unit.id.split("/")[-1] for unit in pool.started if unit.stage == "tiles"]
    assert len([name for name, _ in itertools.groupby(tiles)]) == len(GROUPS)


def test_what_is_present_and_what_only_it_needs_is_left_out() -> None:
    everything = {name for unit in all_units() for name in unit.outputs}
    assert STAGES.required([goal()], everything) == []
    without_summary = everything - {"assembly/summary.json"}
    assert [u.id for u in STAGES.required([goal()], without_summary)] == ["assembly/summary.json"]
    # tiles and draws are gone, as after assembly; one shard is lost
    rows_only = {n for n in everything if n.startswith(("susceptibilities/", "assembly/part"))}
    lost = rows_only - {"susceptibilities/part-00001.parquet"}
    found = [unit.id for unit in STAGES.required([goal()], lost)]
    assert "tiles/00001/l0.safetensors" in found
    assert "tiles/00000/l0.safetensors" not in found
    assert len([name for name in found if name.startswith("chains/")]) == 6 + 3


CHAIN = "chains/l0/1.json"


def test_a_crash_costs_its_unit_until_patience_ends(drive: Drive) -> None:
    pool = FakePool(fates={CHAIN: [UnitResult.CRASHED] * 2})
    drive(pool, budgets=Budgets(crashes=3)).run(all_units())
    assert [u.id for u in pool.started].count(CHAIN) == 3
    pool = FakePool(size=1, fates={CHAIN: [UnitResult.CRASHED] * 3})
    message = r"set aside.*: chains/l0/1\.json \(the first: its worker died 3 times.*\d+ units wait"
    with pytest.raises(UnitError, match=message):
        drive(pool, budgets=Budgets(crashes=3)).run(all_units())
    assert "tiles/00000/full.safetensors" in pool.finished
    assert "tiles/00000/l0.safetensors" not in pool.finished


def test_preemptions_and_units_handed_back_cost_no_patience(drive: Drive) -> None:
    fates = (
        [UnitResult.PREEMPTED, UnitResult.HANDED_BACK] * 20
        + [UnitResult.CRASHED] * 2
        + [UnitResult.FAILED] * 2
    )
    pool = FakePool(fates={CHAIN: fates})
    assert drive(pool, budgets=Budgets(errors=3, crashes=3)).run(all_units()) == []
    assert [u.id for u in pool.started].count(CHAIN) == 45


def test_errors_do_not_hide_behind_retries(drive: Drive, tmp_path: Path) -> None:
    pool = FakePool(size=1, fates={CHAIN: [UnitResult.FAILED] * 3})
    driver = drive(pool, budgets=Budgets(errors=3))
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
        drive(pool, budgets=Budgets(errors=2)).run(all_units())
    assert len(pool.started) == 1 + 3 + 2  # tokens, pilots, the chain twice


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


def test_the_board_tells_what_waits() -> None:
    queue = UnitQueue(STAGES.required([goal(num_chains=1, num_shards=1)], {"tokens/tokens.json"}))
    (pilot, *_) = queue.take(1)
    queue.give_up(pilot.id, "broken")
    while not queue.is_finished:
        for unit in queue.take(3):
            queue.done(unit.id, 1.0)
    # of that group the chain and the tile, then assembly and summary
    assert queue.num_blocked() == queue.num_left == 4
    assert queue.set_aside == {pilot.id: "broken"}


def test_of_units_that_take_a_machine_one_is_done_at_a_time() -> None:
    large = [Large(name=f"large-{n}") for n in range(3)]
    small = [Small(name=f"small-{n}") for n in range(3)]
    units = [large[0], small[0], large[1], large[2], small[1], small[2]]
    queue = UnitQueue(units, one_machine=True)
    assert [unit.id for unit in queue.take(3)] == ["large-0", "small-0", "small-1"]
    queue.done("small-0", 1.0)
    assert [unit.id for unit in queue.take(3)] == ["small-2"]
    queue.done("large-0", 1.0)
    assert [unit.id for unit in queue.take(3)] == ["large-1"]
    queue.requeue("large-1")
    assert [unit.id for unit in queue.take(3)] == ["large-1"]
    for name in ("small-1", "small-2", "large-1"):
        queue.done(name, 1.0)
    assert not queue.is_finished and [unit.id for unit in queue.take(3)] == ["large-2"]
    queue.done("large-2", 1.0)
    assert queue.is_finished and queue.num_blocked() == 0
    assert len(UnitQueue(units).take(9)) == 6  # machines enough


def test_progress_ends_at_its_total_in_every_stage(drive: Drive) -> None:
    progress = Progress()
    drive(FakePool(), progress=progress).run(all_units())
    assert list(progress.stages) == ["tokens", "pilot", "chains", "tiles", "assembly"]
    for stage in progress.stages.values():
        assert stage.done == pytest.approx(stage.total)
        assert stage.ended is not None


def test_time_left_is_linear_in_the_work() -> None:
    stage = StageProgress(total=10, started=0.0)
    assert times(stage, 5.0) == "0:05, starting"
    lefts = []
    for done in range(1, 10):  # one unit of work each 7 seconds
        stage.done = done
        lefts.append(stage.left_seconds(7.0 * done))
    assert lefts == [pytest.approx(7.0 * (10 - done)) for done in range(1, 10)]
    stage.done, stage.ended = 10, 70.0
    assert times(stage, 100.0) == "1:10"


def test_the_models_identity_has_its_arithmetic_and_its_weights() -> None:
    shape = {"vocab_size": 7, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = GPTNeoXForCausalLM(GPTNeoXConfig(**shape, intermediate_size=8))
    before = ModelInfo.of(model).weights_sha256
    model.config.use_parallel_residual = False
    assert ModelInfo.of(model).weights_sha256 != before
    model.config.use_parallel_residual = True
    assert ModelInfo.of(model).weights_sha256 == before
    model.gpt_neox.final_layer_norm.bias.data[0] += 1e-6
    assert ModelInfo.of(model).weights_sha256 != before


def test_clock() -> None:
    assert [clock(s) for s in (0.4, 59.6, 3723)] == ["0:00", "1:00", "1:02:03"]
