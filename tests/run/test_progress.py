"""Time left, and how times are shown."""

from __future__ import annotations

import pytest

from spectro.work.progress import StageProgress, clock, times


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


def test_clock() -> None:
    assert [clock(s) for s in (0.4, 59.6, 3723)] == ["0:00", "1:00", "1:02:03"]
