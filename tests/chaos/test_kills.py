"""The short soak: one blow of each kind that matters most, on a real S3 server with faults.

The long one is `make soak`; its figures stand in docs/operations.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.blows import Pace
from tests.chaos.soak import Soak

SETTINGS = (
    "control=false",
    "components=[l1h0,unembed]",
    "tokens.num_probe_sequences=4",
    "tokens.num_sampling_sequences=4",
    "tokens.sequences_per_shard=4",
    "chain.num_chains=2",
    "chain.num_draws=4",
    "chain.steps_between_draws=2",
    "run.keep_draws=true",
    "run.checkpoint_seconds=1",
    "run.beat_seconds=3",
    "run.max_crashes=100",
    "run.max_errors=20",
    "run.drain_seconds=30",
)
BLOWS = ("worker", "raylet", "notice", "driver")
SEED = 5
PACE = Pace(pause=2.0, patience=15.0, late=3.0, notice=8.0)


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """The soak tells Ray and storage by the environment where they are."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_whatever_is_killed_the_product_is_the_same(tmp_path: Path) -> None:
    """Worker, raylet (its worker goes on beside the new one), eviction notice, driver."""
    soak = Soak(
        folder=tmp_path,
        settings=SETTINGS,
        seed=SEED,
        kills=len(BLOWS),
        order=BLOWS,
        machines=2,
        pace=PACE,
        most_seconds=600.0,
    )
    report = soak.run()
    told = f"seed {SEED}: {report}"
    assert report.different == [], told
    assert (report.rows, report.rows_lost, report.rows_doubled) == (4 * 8 * 128, 0, 0), told
    assert report.leftovers == [], told
    assert report.verify_status == 0, told
    assert sum(report.faults.values()) > 0, told
    assert report.drivers >= 1 + report.blows["driver"], told
