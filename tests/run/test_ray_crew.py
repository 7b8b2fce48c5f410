"""Workers that do not come, with Ray's answers made up."""

from __future__ import annotations

from typing import Any

import pytest
from ray.exceptions import RayTaskError

from spectro.work import ray_actors as ray_crew
from spectro.work.errors import StoppedError, UnitError
from spectro.work.outcome import MAX_STILLBORN
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
def crew(monkeypatch: pytest.MonkeyPatch) -> RayActors:
    monkeypatch.setattr(ray_crew, "ray", NoRay())
    crew = RayActors(setup=None, gpus_per_worker=0.0)  # type: ignore[arg-type]
    monkeypatch.setattr(
        crew, "_start", lambda: crew.members.append(RayActor(actor=0, hello=object()))
    )
    return crew


def test_a_broken_machine_that_joins_does_not_end_the_run_of_the_others(crew: RayActors) -> None:
    crew.members.append(RayActor(actor=0, hello=object(), came=0.0))
    for _ in range(2 * MAX_STILLBORN):
        crew.fit(2)
        assert crew.welcome() is None
    assert len(crew.members) == 1


def test_if_nobody_can_load_the_model_the_run_ends(crew: RayActors) -> None:
    with pytest.raises(UnitError, match=f"{MAX_STILLBORN} workers in a row died"):
        for _ in range(MAX_STILLBORN):
            crew.fit(1)
            crew.welcome()


def test_who_waits_for_a_first_worker_heeds_the_deadline(crew: RayActors) -> None:
    pool = RayPool(actors=crew, wanted=lambda: 1)
    with pytest.raises(StoppedError, match="deadline_hours"):
        pool.describe(StopConditions(crew.clock() - 10.0, deadline_seconds=5.0))
