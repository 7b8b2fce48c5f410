"""The nβ = 0 control's clusters as a second map in the folder of the first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs.map import MapJob, lines
from jobs.reading import StoredRun
from spectro.config import PipelineConfig
from spectro.inspect.verify import DAMAGED, verify_run
from spectro.pipeline.stages import STAGES
from spectro.storage.store import Store
from spectro.views.map.config import MapConfig
from spectro.views.map.write import MARKER, copy_map, write_map
from spectro.views.run_view import RunView
from tests.report.read_map import read_map

RunCopy = Callable[[], tuple[Store, PipelineConfig]]
CONFIG = MapConfig(landmarks=80)
NESTED = "control/"


def test_both_maps_lie_in_one_folder(run_copy: RunCopy, tmp_path: Path) -> None:
    store, _ = run_copy()
    written = write_map(RunView(store.uri), CONFIG)
    own, other = read_map(written.store.root), read_map(f"{written.store.root}/control")
    table = pq.read_table(f"{store.root}/control/clusters/clusters.parquet")
    assert other.clusters["size"].tolist() == table["size"].to_pylist()
    assert own.marker["control"]["map"] == "control" and not own.marker["is_control"]
    assert other.marker["is_control"] and other.marker["control"] is None
    assert other.marker["title"] == "copy / control" and other.vocabulary == own.vocabulary
    for name in ("token", "token_id", "loss"):  # the same tokens, drawn in the same order
        assert np.array_equal(own.tokens[name], other.tokens[name])
    alone = write_map(RunView(f"{store.uri}/control"), CONFIG, Store(str(tmp_path / "alone")))
    assert np.array_equal(read_map(alone.store.root).tokens["x"], other.tokens["x"])
    names = {name for name in written.store.list() if name.startswith(NESTED)}
    assert names < set(written.marker["objects"]) and "control/map.json" in names
    assert not any(name.endswith((".js", ".css", ".html")) for name in names), "the page is shared"


def test_the_run_knows_what_lies_there(run_copy: RunCopy) -> None:
    store, config = run_copy()
    written = write_map(RunView(store.uri), CONFIG)
    found = verify_run(store, config)
    assert found.faults == () and found.leftovers == ()
    assert write_map(RunView(store.uri), CONFIG).was_there
    path = Path(written.store.root) / "control/clusters/size.bin"
    path.write_bytes(path.read_bytes() + b"x")
    (fault,) = verify_run(store, config).faults
    assert (fault.name, fault.what) == ("map/control/clusters/size.bin", DAMAGED)
    store.delete("map/map.json")
    gone = {name for name in store.list() if name.startswith("map/")}
    assert STAGES.leftovers(store, set(store.list())) == gone


def test_it_may_be_left_out(run_copy: RunCopy) -> None:
    store, _ = run_copy()
    both = write_map(RunView(store.uri), CONFIG)
    alone = write_map(RunView(store.uri), MapConfig(landmarks=80, control=False))
    assert not alone.was_there and not any(name.startswith(NESTED) for name in alone.store.list())
    assert set(alone.store.list()) == {*alone.marker["objects"], MARKER}
    assert alone.marker["control"]["clusters"] == both.marker["control"]["clusters"]
    assert "map" not in alone.marker["control"]


def test_a_copy_has_both(run_copy: RunCopy, tmp_path: Path) -> None:
    store, _ = run_copy()
    written = write_map(RunView(store.uri), CONFIG)
    copied = copy_map(written.store, Store(str(tmp_path / "site")))
    assert copied.store.list() == written.store.list()


@pytest.mark.parametrize(
    ("lost", "drawn", "said"),
    [
        ("", True, "nβ = 0 control: {number} clusters, a map of their own"),
        ("assembly/summary.json", False, "nβ = 0 control: {number} clusters, not drawn"),
        ("clusters/cluster.json", False, "no nβ = 0 control beside it"),
    ],
)
def test_what_there_is_of_it_is_said(run_copy: RunCopy, lost: str, drawn: bool, said: str) -> None:
    store, _ = run_copy()
    number = pq.read_table(f"{store.root}/control/clusters/clusters.parquet").num_rows
    if lost:
        store.delete(f"control/{lost}")
    written = write_map(RunView(store.uri), CONFIG)
    assert written.store.exists("control/map.json") == drawn
    told = lines(written, MapJob(run=StoredRun(uri=store.uri)))
    assert any(line.startswith(said.format(number=number)) for line in told)
