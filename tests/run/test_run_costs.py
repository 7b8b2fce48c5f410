"""GPU-hours and money of a run, so far and expected, and how `spectro status` says them."""

from __future__ import annotations

import dataclasses

import pytest

from jobs.status import as_dict, cost_lines, lines
from spectro.formats.sessions import Heartbeat
from spectro.inspect.run_costs import run_costs
from spectro.inspect.status import StageStatus, Status
from spectro.work.config import RunConfig

NOW = 1_800_000_000.0
LIMITS = RunConfig(
    uri="runs/x", max_gpu_hours=20.0, price_per_gpu_hour=3.0, max_cost=50.0, deadline_hours=4.0
)
BEAT = Heartbeat(
    session="20270115-000000-b", number=3, started=NOW - 7200, time=NOW - 10, host="node7",
    process=42, ended=None, device="cuda", num_workers=2, worker_seconds=0.0, stages={},
    job="job-1", num_starting=1, num_gpus=2.0, gpu_seconds_held=2 * 7190.0,
    gpu_seconds_worked=1.5 * 7190.0, price_per_gpu_hour=3.0, waiting="no worker for 12:00",
)  # fmt: skip
BEFORE = dataclasses.replace(
    BEAT, session="20270114-000000-a", started=NOW - 90_000, time=NOW - 86_400,
    ended="run.deadline_hours reached", gpu_seconds_held=3600.0, gpu_seconds_worked=3600.0,
    price_per_gpu_hour=6.0,
)  # fmt: skip


def status(beats: list[Heartbeat], limits: RunConfig, left_seconds: float | None) -> Status:
    return Status(
        uri="runs/x", state="running", driver="driver last seen",
        stages={"tiles": StageStatus(units=10, done=5, left_seconds=left_seconds)},
        tokens_known=True, units_per_hour=None, left_seconds=left_seconds, worker_hours=5.0,
        gpu_hours=0.0, costs=run_costs(beats, limits, left_seconds, NOW), beat=beats[-1],
        waiting=beats[-1].waiting, failures=(),
    )  # fmt: skip


def test_hours_and_money_over_all_sessions() -> None:
    costs = run_costs([BEFORE, BEAT], LIMITS, 3600.0, NOW)
    held = 1 + 2 * 7190 / 3600
    assert costs.gpu_hours_held == pytest.approx(held)
    assert costs.gpu_hours_worked == pytest.approx(1 + 1.5 * 7190 / 3600)
    assert costs.gpu_hours_waited == pytest.approx(0.5 * 7190 / 3600)
    assert costs.cost == pytest.approx(6.0 + 3 * (held - 1))
    # an hour more on the two GPUs of this session
    assert costs.expected_gpu_hours == pytest.approx(held + 2)
    assert costs.expected_cost == pytest.approx(costs.cost + 2 * 3)
    assert costs.gpu_hours_left == pytest.approx(20 - held)
    assert costs.cost_left == pytest.approx(50 - costs.cost)
    # both are attempts of one job: an hour before, two now
    assert costs.deadline_left_seconds == pytest.approx((4 - 1 - 2) * 3600)


def test_an_invocation_without_a_job_has_the_whole_deadline() -> None:
    beats = [dataclasses.replace(beat, job=None) for beat in (BEFORE, BEAT)]
    assert run_costs(beats, LIMITS, None, NOW).deadline_left_seconds == pytest.approx(2 * 3600)


def test_limits_that_are_passed_leave_nothing() -> None:
    limits = dataclasses.replace(LIMITS, max_gpu_hours=1.0, max_cost=1.0, deadline_hours=0.1)
    costs = run_costs([BEFORE, BEAT], limits, None, NOW)
    assert (costs.gpu_hours_left, costs.cost_left, costs.deadline_left_seconds) == (0, 0, 0)
    assert costs.expected_gpu_hours is None and costs.expected_cost is None


def test_nothing_is_known_before_a_heartbeat() -> None:
    costs = run_costs([], LIMITS, None, NOW)
    assert (costs.gpu_hours_held, costs.cost, costs.worked_share) == (0.0, None, None)
    assert costs.deadline_left_seconds is None


def test_the_lines_of_a_status() -> None:
    found = lines(status([BEFORE, BEAT], LIMITS, 3600.0))
    assert "4.99 GPU-hours held so far: 4.00 worked (80%), 1.00 waited, cost 17.98" in found
    assert "6.99 GPU-hours expected at the end, at this pace, cost 23.98" in found
    assert (
        "left: 15.01 of run.max_gpu_hours, 32.02 of run.max_cost, 1:00:00 of run.deadline_hours"
        in found
    )
    assert "2 workers, 1 starting, 2 GPUs held; units lost 0, handed back 0, errors 0" in found
    assert "waiting: no worker for 12:00" in found
    plain = as_dict(status([BEFORE, BEAT], LIMITS, 3600.0))
    assert plain["waiting"] == "no worker for 12:00"
    assert plain["costs"]["cost"] == pytest.approx(6 + 3 * 2 * 7190 / 3600)  # type: ignore[index]


def test_a_run_without_gpus_shows_worker_hours_alone() -> None:
    beat = dataclasses.replace(
        BEAT, device="cpu", gpu_seconds_held=0.0, gpu_seconds_worked=0.0, num_gpus=0.0,
        num_starting=0, price_per_gpu_hour=None, waiting="",
    )  # fmt: skip
    found = status([beat], RunConfig(uri="runs/x"), 60.0)
    assert cost_lines(found) == ["5.00 worker-hours so far"]
    assert not any(line.startswith("waiting") for line in lines(found))
