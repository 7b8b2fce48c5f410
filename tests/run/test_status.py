"""Status of a real tiny run: before, in the middle, after, and with a driver's beats."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from spectro.config import PipelineConfig
from spectro.formats import run_dir
from spectro.formats.sessions import Failure, Heartbeat, RunningUnit, SessionLog, put_failure
from spectro.inspect.catalogue import read_catalogue
from spectro.inspect.status import SILENT_SECONDS, read_status
from spectro.measure.sampled_groups import groups_of
from spectro.measure.unit_costs import UnitCosts
from spectro.pipeline.run import Goal, run_pipeline
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from spectro.work.model_info import model_of
from spectro.work.progress import Progress

MakeCopy = Callable[[], tuple[Store, PipelineConfig]]
MakeConfig = Callable[..., PipelineConfig]
NOW = 1_800_000_000.0
"""A time after every object of these tests."""


def beat(session: str, time: float, *, ended: str | None = None, device: str = "cpu") -> Heartbeat:
    return Heartbeat(
        session=session,
        number=0,
        started=time - 1000,
        time=time,
        host="node7",
        process=42,
        ended=ended,
        device=device,
        num_workers=3,
        worker_seconds=1800.0,
        stages={},
        running=(RunningUnit(unit="tiles/00000/l1", worker="w1", seconds=9.0, share=0.25),),
        lost=2,
        errors=1,
        set_aside={"tiles/00000/l0": "no memory"},
    )


def put_beat(store: Store, found: Heartbeat) -> None:
    log = SessionLog(store)
    log.session = found.session
    log.put(found)


def without_beats(copy: tuple[Store, PipelineConfig]) -> tuple[Store, PipelineConfig]:
    copy[0].delete_many(list(copy[0].list("sessions")))
    return copy


def test_after(run_copy: MakeCopy) -> None:
    store, config = without_beats(run_copy())
    status = read_status(store, config, NOW)
    assert status.state == "done"
    assert status.driver == "no driver has left a sign"
    assert (status.done, status.left_seconds, status.worker_hours) == (status.units, 0.0, 0.0)
    # 3 groups (l1, embed, full), 2 chains, 2 shards; the tiles are gone, and count; clusters of
    # all chains and of both halves, whose neighbour lists nobody needs any more
    expected = {"pilot": 3, "chains": 6, "tiles": 6, "assembly": 3, "clusters": 3}
    found = {name: stage.units for name, stage in status.stages.items()}
    assert found == {
        "tokens": 1, **expected, "report": 1,
        **{f"control: {name}": count for name, count in expected.items()},
    }  # fmt: skip


def test_before(make_config: MakeConfig) -> None:
    config = make_config()
    run_pipeline(config, Progress(), goal=Goal.TOKENS)
    store = Store(config.run.uri)
    status = read_status(store, config, NOW)
    assert (status.done, status.state, status.left_seconds) == (1, "stopped", None)
    store.delete_many(list(store.list("tokens")))
    status = read_status(store, config, NOW)
    assert (status.done, status.tokens_known, status.state) == (0, False, "stopped")


def test_in_the_middle(run_copy: MakeCopy) -> None:
    store, config = run_copy()
    store.delete_many(
        [n for n in store.list() if n.startswith(("control/chains/l1/1.", "report/"))]
    )
    store.delete_many([n for n in store.list() if "/part-00001" in n or "summary" in n])
    status = read_status(store, config, NOW)
    done = {name: (s.done, s.units) for name, s in status.stages.items() if s.done < s.units}
    assert done == {
        "tiles": (3, 6), "assembly": (1, 3), "report": (0, 1), "control: chains": (5, 6),
        "control: tiles": (3, 6), "control: assembly": (1, 3),
    }  # fmt: skip
    assert status.state == "stopped"
    store.put("tiles/00001/l1.safetensors", b"")
    assert read_status(store, config, NOW).stages["tiles"].done == 4


def test_measured_but_without_clusters(run_copy: MakeCopy) -> None:
    store, config = run_copy()
    store.delete_many([n for n in store.list() if "clusters/" in n or n.startswith("report/")])
    assert read_status(store, config, NOW).state == "measured"


def test_with_lists_but_without_clusters(run_copy: MakeCopy) -> None:
    """Lists count while clusters need them: three sets of transform, one block and recall."""
    store, config = run_copy()
    store.delete_many([n for n in store.list() if "clusters/" in n or n.startswith("report/")])
    store.delete(sorted(n for n in store.list("neighbours") if "/lists-" in n)[0])
    stages = read_status(store, config, NOW).stages
    assert (stages["neighbours"].done, stages["neighbours"].units) == (8, 9)
    assert (stages["control: neighbours"].done, stages["clusters"].done) == (9, 0)


@pytest.mark.parametrize("folder", ["clusters", "clusters-k30"])
def test_the_list_of_runs_counts_the_clusters_of_a_run_in_their_folder(
    run_copy: MakeCopy, folder: str
) -> None:
    store, config = without_beats(run_copy())
    num_clusters = read_sealed(store, "clusters/cluster.json")["num_clusters"]
    if folder != "clusters":
        os.rename(store.path("clusters"), store.path(folder))
        os.rename(store.path("control/clusters"), store.path(f"control/{folder}"))
        os.rename(store.path("report"), store.path("report-k30"))  # its page lies beside it
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, clusters=folder))
    (row,) = read_catalogue(store, lambda plain: config, NOW)
    assert (row.clusters, row.state) == (num_clusters, "done")


def test_large_objects_are_never_read(run_copy: MakeCopy) -> None:
    store, config = run_copy()
    before = read_status(store, config, NOW)
    for path in Path(store.root).rglob("*"):
        large = path.suffix in (".parquet", ".safetensors", ".html") or "chains" in path.parts
        if large and path.is_file():
            path.write_bytes(b"")
    assert read_status(store, config, NOW).stages == before.stages


def test_the_time_left_follows_the_pace(run_copy: MakeCopy) -> None:
    """Of the work, not of the units: chains of `full` cost more than those of `l1`."""
    store, config = run_copy()
    markers = ["chains/l1/0.json", "chains/l1/1.json", "chains/embed/0.json", "chains/full/0.json"]
    store.delete_many(["chains/embed/1.json", "chains/full/1.json"])
    for index, name in enumerate(markers):
        os.utime(store.path(name), (NOW + 10 * index, NOW + 10 * index))
    model = model_of(run_dir.require(store), store.uri)
    groups = groups_of(config, model)
    costs = UnitCosts.of(config, model)
    cost = {group.name: costs.chains(group, 1) for group in groups}
    rest = cost["embed"] + cost["full"]
    pace = (cost["l1"] + cost["embed"] + cost["full"]) / 30
    left = read_status(store, config, NOW + 30).stages["chains"].left_seconds
    assert left == pytest.approx(rest / pace)
    put_beat(store, beat("20270115-000000-a", NOW + 1015))  # began after the first two
    left = read_status(store, config, NOW + 1020).stages["chains"].left_seconds
    assert left == pytest.approx(rest / (cost["full"] / 10))


@pytest.mark.parametrize(
    ("ago", "ended", "state", "words"),
    [
        (12.0, None, "running", "driver last seen 12 s ago on host node7"),
        (14 * 60.0, None, "failed", "no sign of the driver on host node7 (process 42) for 14 min"),
        (3 * 3600.0, "interrupted", "failed", "ended 3.0 h ago: interrupted"),
        (5.0, "3 units set aside", "failed", "ended 5 s ago: 3 units set aside"),
    ],
)
def test_a_sign_of_life(
    run_copy: MakeCopy, ago: float, ended: str | None, state: str, words: str
) -> None:
    store, config = run_copy()
    store.delete("report/page.json")
    put_beat(store, beat("20270115-000000-a", NOW - ago, ended=ended))
    status = read_status(store, config, NOW)
    assert status.state == state
    assert words in status.driver
    assert status.beat is not None and status.beat.running[0].share == 0.25
    assert (ago > SILENT_SECONDS and ended is None) == ("probably dead" in status.driver)


@pytest.mark.parametrize(
    ("ended", "state"),
    [("stopped: told to stop (SIGTERM)", "measured"), ("failed: no memory", "failed")],
)
def test_a_run_that_was_stopped_in_order_has_not_failed(
    run_copy: MakeCopy, ended: str, state: str
) -> None:
    store, config = run_copy()
    store.delete("report/page.json")
    last = dataclasses.replace(beat("20270115-000000-a", NOW, ended=ended), set_aside={})
    put_beat(store, last)
    assert read_status(store, config, NOW).state == state


def test_cost_is_summed_over_sessions(run_copy: MakeCopy) -> None:
    store, config = without_beats(run_copy())
    put_beat(store, beat("20270115-000000-a", NOW - 9000, ended="done"))
    put_beat(store, beat("20270115-020000-b", NOW - 10, device="cuda"))
    put_failure(
        store,
        Failure(
            unit="tiles/00000/l1.safetensors", kind="error", message="no memory", trace="",
            worker="w1", session="20270115-020000-b", time=NOW - 20,
        ),
    )  # fmt: skip
    status = read_status(store, config, NOW)
    assert (status.worker_hours, status.gpu_hours) == (1.0, 0.5)
    assert status.beat is not None and status.beat.session == "20270115-020000-b"
    assert [failure.message for failure in status.failures] == ["no memory"]


def test_failures_and_beats_carry_no_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    store, text = Store(str(tmp_path)), "ftp://me:hunter2@host/x refused wJalrXUtnFEMI"
    failure = Failure(
        unit="tiles/00000/l1.safetensors", kind="failed", message=text, trace=text,
        worker="w1", session="a", time=NOW,
    )  # fmt: skip
    put_failure(store, failure)
    put_beat(
        store,
        dataclasses.replace(beat("20270115-000000-a", NOW, ended=text), set_aside={"unit": text}),
    )
    for name in store.list():
        written = store.read(name).decode()
        assert "hunter2" not in written and "wJalrXUtnFEMI" not in written


def test_a_folder_of_something_else(tmp_path: Path, whole_run: PipelineConfig) -> None:
    with pytest.raises(ValueError, match="is not the folder of a run"):
        read_status(Store(str(tmp_path)), whole_run)
