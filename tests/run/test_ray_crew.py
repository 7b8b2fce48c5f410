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
from spectro.work.stop_conditions import StopConditions


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
    actors = RayActors(setup=None, gpus_per_worker=0.0)  # type: ignore[arg-type]
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
    pool = RayPool(actors=actors, wanted=lambda: 1)
    with pytest.raises(StoppedError, match="deadline_hours"):
        pool.describe(StopConditions(actors.clock() - 10.0, deadline_seconds=5.0))
