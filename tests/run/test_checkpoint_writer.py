"""When checkpoints are due, by a clock of the test's own."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from spectro.formats.checkpoint_bank import CheckpointBank
from spectro.measure.checkpoint_writer import WRITING_SHARE, CheckpointWriter
from spectro.sampling.checkpoint import Checkpoint
from spectro.storage.background import BackgroundWriter
from spectro.storage.store import Store
from spectro.work.errors import HandedBack

SNAPSHOT = Checkpoint(tensors={"x": torch.arange(3)}, values={"at": 1})


class SlowBank(CheckpointBank):
    """Every put takes some time of the clock."""

    def put(self, position: int, snapshot: Checkpoint) -> None:
        super().put(position, snapshot)
        now[0] += put_seconds[0]


now, put_seconds = [0.0], [0.0]


def made(folder: Path, background: BackgroundWriter, should_stop=lambda: False) -> CheckpointWriter:
    now[0] = 0.0
    bank = SlowBank(Store(str(folder)), "state", "0-1", "inputs")
    return CheckpointWriter(bank, background, 60.0, should_stop, clock=lambda: now[0])


@pytest.mark.parametrize(("seconds", "interval"), [(0.0, 60.0), (1.0, 60.0), (30.0, 600.0)])
def test_writing_takes_at_most_its_share(tmp_path: Path, seconds: float, interval: float) -> None:
    assert interval == max(60.0, seconds / WRITING_SHARE)
    put_seconds[0] = seconds
    with BackgroundWriter() as background:
        writer = made(tmp_path, background)
        checkpoints, began = writer.checkpoints(), []
        while len(began) < 4:
            if checkpoints.due():
                began.append(now[0])
                checkpoints.save(len(began), SNAPSHOT)
                background.drain()
            now[0] += 1.0
        assert began[0] == 60.0  # nothing is known of its size yet
        gaps = [later - earlier for earlier, later in itertools.pairwise(began)]
        assert all(interval <= gap - seconds <= interval + 1 for gap in gaps)


def test_a_hand_back_always_writes_one(tmp_path: Path) -> None:
    stop = [False]
    put_seconds[0] = 1000.0
    with BackgroundWriter() as background:
        writer = made(tmp_path, background, lambda: stop[0])
        checkpoints = writer.checkpoints()
        checkpoints.save(1, SNAPSHOT)
        background.drain()
        assert not checkpoints.due()
        stop[0] = True
        assert checkpoints.due()
        with pytest.raises(HandedBack):
            checkpoints.save(2, SNAPSHOT)
    (name,) = Store(str(tmp_path)).list("state")
    assert "000000002" in name
    found = writer.bank.newest()
    assert found is not None and torch.equal(found.part("work").tensors["x"], torch.arange(3))
