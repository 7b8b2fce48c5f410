"""Workers that do not come, with Ray's answers made up."""

from __future__ import annotations

from typing import Any

import pytest
from ray.exceptions import RayTaskError

from spectro.work import ray_actors as ray_crew
from spectro.work.errors import StoppedError, UnitError
from spectro.work.outcome import MAX_FAILED_STARTS
from spectro.work.ray_actors import RayActor, RayActors
from spectro.work.ray_pool import RayPool
from spectro.work.stop_conditions import RunLimits, StopConditions
from spectro.work.worker_kinds import Demand, WorkerKind


class NoRay:
    """Every worker answers with an error; nothing is started."""

    def wait(self, answers: list[Any], **options: Any) -> tuple[list[Any], list[Any]]:
        return answers, []

    def get(self, answers: Any, **options: Any) -> Any:
        raise RayTaskError("try_describe", "RuntimeError: CUDA error", RuntimeError("CUDA error"))

    def kill(self, actor: Any) -> None:
        pass


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> RayActors:
    monkeypatch.setattr(ray_crew, "ray", NoRay())
    actors = RayActors(setup=None)  # type: ignore[arg-type]
    monkeypatch.setattr(
        actors, "_start", lambda: actors.members.append(RayActor(actor=0, description=object()))
    )
    return actors


def test_a_broken_machine_that_joins_does_not_end_the_run_of_the_others(actors: RayActors) -> None:
    actors.members.append(RayActor(actor=0, description=object(), ready_since=0.0))
    for _ in range(2 * MAX_FAILED_STARTS):
        actors.adjust(2)
        assert actors.book_ready() is None
    assert len(actors.members) == 1


def test_if_nobody_can_load_the_model_the_run_ends(actors: RayActors) -> None:
    with pytest.raises(UnitError, match=f"{MAX_FAILED_STARTS} workers in a row died"):
        for _ in range(MAX_FAILED_STARTS):
            actors.adjust(1)
            actors.book_ready()


def test_who_waits_for_a_first_worker_heeds_the_deadline(actors: RayActors) -> None:
    pool = RayPool(actors={WorkerKind.CPU: actors}, capacity=lambda kind: 1)
    with pytest.raises(StoppedError, match="deadline_hours"):
        late = StopConditions(actors.clock() - 10.0, limits=RunLimits(deadline_seconds=5.0))
        pool.describe(late, lambda: None)


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> RayActors:
    """Four workers on two machines of two GPUs; one of machine `b` is busy."""
    monkeypatch.setattr(ray_crew, "ray", NoRay())
    actors = RayActors(setup=None, gpus=1.0, clock=Clock())  # type: ignore[arg-type]
    for node in "abab":
        member = RayActor(
            actor=0, description=0, node=node, placed_since=900.0, ready_since=940.0,
            idle_since=990.0,
        )  # fmt: skip
        actors.members.append(member)
    actors.members[1].task = "busy"
    return actors


def test_idle_gpus_go_after_the_time_of_a_start_the_emptiest_machine_first(gpus: RayActors) -> None:
    gpus.adjust(1)
    assert len(gpus.members) == 4  # idle for 10 s, their start took 40 s
    gpus.clock.now = 1031.0  # type: ignore[attr-defined]
    gpus.adjust(2)
    assert [member.node for member in gpus.members] == ["b", "b"]
    gpus.adjust(0)
    assert [member.task for member in gpus.members] == ["busy"]
    assert gpus.held_seconds == 4 * 131.0 and gpus.ready_seconds == 4 * 91.0


@pytest.mark.parametrize(
    ("now", "proven", "wanted"), [(0, (), 0), (9, (), 1), (9, (WorkerKind.GPU,), 5), (2, (), 1)]
)
def test_a_fleet_is_asked_for_once_one_worker_has_shown_progress(
    actors: RayActors, now: int, proven: tuple[WorkerKind, ...], wanted: int
) -> None:
    pool = RayPool(actors={WorkerKind.CPU: actors, WorkerKind.GPU: actors}, capacity=lambda kind: 5)
    demand = Demand(now={WorkerKind.GPU: now}, left=100, proven=frozenset(proven))
    assert pool._wanted(WorkerKind.GPU, demand) == wanted
    alone = RayPool(actors={WorkerKind.CPU: actors}, capacity=lambda kind: 5)
    assert alone._wanted(WorkerKind.CPU, demand) == 5  # cores of one's own cost nothing
