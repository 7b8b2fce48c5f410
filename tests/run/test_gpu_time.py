"""GPU time over sessions, against sums by hand."""

from __future__ import annotations

import pytest

from spectro.formats.gpu_time import gpu_time
from spectro.formats.sessions import Heartbeat, StageCount

STAGES = {"tiles": StageCount(units=4, done=2, cost=4.0, done_cost=2.0, seconds=3000.0)}


def beat(
    held: float | None = None, worked: float = 0.0, price: float | None = None, device: str = "cuda"
) -> Heartbeat:
    return Heartbeat(
        session="a", number=0, started=0.0, time=1.0, host="node", process=1, ended=None,
        device=device, num_workers=1, worker_seconds=7200.0, stages=STAGES,
        gpu_seconds_held=held, gpu_seconds_worked=worked, price_per_gpu_hour=price,
    )  # fmt: skip


def test_sessions_add_up_each_at_its_price() -> None:
    found = gpu_time([beat(3600, 1800, 2.0), beat(7200, 7000, 5.0)])
    assert (found.held_seconds, found.worked_seconds) == (10800, 8800)
    assert found.waited_seconds == 2000
    assert found.cost == pytest.approx(1 * 2.0 + 2 * 5.0)


def test_a_session_without_a_price_has_the_latest() -> None:
    assert gpu_time([beat(3600, 0), beat(3600, 0, 4.0)]).cost == pytest.approx(8.0)
    assert gpu_time([beat(3600, 0)]).cost is None
    assert gpu_time([]).held_seconds == 0


def test_sessions_that_recorded_no_gpu_time_count_their_workers() -> None:
    found = gpu_time([beat(), beat(3600, 1800), beat(device="cpu")])
    assert (found.held_seconds, found.worked_seconds) == (7200 + 3600, 3000 + 1800)
