"""A run on a Ray cluster and a real S3 server with faults, parts of which are killed.

`make soak` kills a hundred times; docs/operations.md has its figures.
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
    "run.max_losses=100",
    "run.drain_seconds=30",
)
SEED = 5
PACE = Pace(pause=2.0, patience=15.0, late=3.0, notice=8.0)
WORKER_AND_DRIVER = ("worker", "driver")
EVERY_KIND = ("worker", "raylet", "notice", "driver")
"""A raylet's worker goes on beside the new one; a notice is that of an eviction."""


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """The soak sets where Ray and the object store are in the environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize(
    "kills", [WORKER_AND_DRIVER, pytest.param(EVERY_KIND, marks=pytest.mark.slow)], ids="-".join
)
def test_whatever_is_killed_the_product_is_the_same(tmp_path: Path, kills: tuple[str, ...]) -> None:
    soak = Soak(
        folder=tmp_path,
        settings=SETTINGS,
        seed=SEED,
        kills=len(kills),
        order=kills,
        machines=len(kills) // 2,
        pace=PACE,
        most_seconds=600.0,
    )
    report = soak.run()
    found = f"seed {SEED}: {report}"
    assert report.different == [], found
    assert (report.rows, report.rows_lost, report.rows_doubled) == (4 * 8 * 128, 0, 0), found
    assert report.leftovers == [], found
    assert report.verify_status == 0, found
    assert sum(report.faults.values()) > 0, found
    assert report.drivers >= 1 + report.blows["driver"], found
