"""The map of a stored run: held against its Parquet files, renewed, copied."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from spectro.formats.derived_objects import put_derived
from spectro.formats.product import SUMMARY_NAME
from spectro.formats.tokens import read_info
from spectro.pipeline.stages import STAGES
from spectro.storage.store import DamagedObjectError, Store
from spectro.views.map.config import MapConfig
from spectro.views.map.write import MARKER, copy_map, map_folder, write_map
from spectro.views.run_view import RunView
from tests.report.read_map import ReadMap, read_map
from tests.run.made_runs import COMPONENTS, CONTEXT, add_tokens, make_run, put_clusters, text
from tests.servers.moto_server import BUCKET, MotoServer

CONFIG = MapConfig(landmarks=80, rows_per_file=150, num_examples=7)


def summed_up(store: Store) -> None:
    told = {"components": COMPONENTS, "reliability": [None, *[0.5] * (len(COMPONENTS) - 1)]}
    put_derived(store, SUMMARY_NAME, told, read_info(store).probe_sha256)


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A run of 600 tokens in four shards, with clusters; look, do not touch."""
    store = make_run(tmp_path_factory.mktemp("clustered") / "run", text(30, 1))
    assert len(put_clusters(store)) >= 4
    summed_up(store)
    return store


@pytest.fixture
def store(clustered: Store, tmp_path: Path) -> Store:
    """A copy of it."""
    return Store(str(shutil.copytree(clustered.root, tmp_path / "run")))


def made(store: Store, config: MapConfig = CONFIG, **options: object) -> ReadMap:
    written = write_map(RunView(store.uri), config, **options)  # type: ignore[arg-type]
    return read_map(written.store.root)


def parquet(store: Store, name: str) -> dict[str, list[object]]:
    return pq.read_table(f"{store.root}/{name}").to_pydict()


def test_the_map_says_what_the_runs_files_say(store: Store) -> None:
    found = made(store)
    ids = found.tokens["token_id"].astype(int)
    assert sorted(ids) == list(range(600)) and sorted(ids) != ids.tolist()
    rows = [parquet(store, f"susceptibilities/part-{n:05d}.parquet") for n in range(4)]
    for name in ("token", "loss"):
        column = np.concatenate([part[name] for part in rows])
        assert np.allclose(found.tokens[name], column[ids])
    members, table = (
        parquet(store, "clusters/members.parquet"),
        parquet(store, "clusters/clusters.parquet"),
    )
    cluster = dict.fromkeys(range(600), -1)
    for token_id, own in zip(members["token_id"], members["cluster_id"], strict=True):
        cluster[token_id] = max(cluster[token_id], own)  # sorted by size: the last is smallest
    assert found.tokens["cluster"].tolist() == [cluster[i] for i in ids]
    for name in ("size", "conductance", "purity", "token_purity"):
        assert np.allclose(found.clusters[name], table[name])
    assert np.isnan(found.clusters["stability"]).all()
    for name, width, fill in (("top_tokens", 10, -1), ("top_counts", 10, 0), ("neighbours", 5, -1)):
        padded = [[*row, *[fill] * (width - len(row))] for row in table[name]]
        assert found.clusters[name].tolist() == padded
    assert np.allclose(found.profiles, table["mean_chi"], atol=2e-3)
    assert found.clusters["subset_counts"][:, 0].tolist() == table["size"]
    sequence, position = np.divmod(ids, CONTEXT)
    assert np.array_equal(found.sequences[sequence, position + 1], found.tokens["token"])
    assert found.marker["components"] == COMPONENTS and found.marker["reliability"][:2] == [
        None,
        0.5,
    ]
    assert found.marker["control"] is None and found.marker["title"] == "run"
    assert found.vocabulary == [f"#{token}" for token in range(50)]


def test_examples_are_members_and_the_central_ones_rank_highest(store: Store) -> None:
    found = made(store)
    members = parquet(store, "clusters/members.parquet")
    own = np.array(members["cluster_id"])
    for cluster in range(found.marker["clusters"]["count"]):
        ids = np.array(members["token_id"])[own == cluster]
        assert found.clusters["central"][cluster].tolist() == ids[:5].tolist()
        examples = found.clusters["examples"][cluster]
        assert len(set(examples)) == 7 and set(examples) <= set(ids)
        assert set(examples) != set(ids[:7]), "random, not the first"


def test_piles_of_the_run_lie_together(store: Store) -> None:
    found = made(store)
    xy = np.stack([found.tokens["x"], found.tokens["y"]], axis=1).astype(float)
    centre = np.stack([found.clusters["x"], found.clusters["y"]], axis=1).astype(float)
    inside = found.tokens["cluster"] >= 0
    far = np.linalg.norm(xy[inside][:, None] - centre[None], axis=2)
    own = found.tokens["cluster"][inside]
    pile = found.clusters["conductance"][own] < 0.01  # planted ones; others are of the body
    piles = np.unique(own[pile])
    assert len(piles) == 4
    nearest = piles[far[:, piles].argmin(axis=1)]  # of the piles: clusters of the body overlap
    assert (nearest == own)[pile].all()


def test_the_same_run_gives_the_same_bytes(store: Store, tmp_path: Path) -> None:
    first = write_map(RunView(store.uri), CONFIG)
    again = write_map(RunView(store.uri), CONFIG, Store(str(tmp_path / "again")))
    assert not first.was_there and not again.was_there
    names = first.store.list()
    assert names == again.store.list()
    for name in names:
        assert first.store.read(name) == again.store.read(name), name


class CountingView(RunView):
    """Counts the shards of χ that are read."""

    num_read = 0

    def shards(self):
        for first, chi in super().shards():
            self.num_read += 1
            yield first, chi


@pytest.mark.parametrize(("landmarks", "num_read"), [(80, 8), (10_000, 4)])
def test_chi_is_read_shard_by_shard_twice_at_most(
    store: Store, landmarks: int, num_read: int
) -> None:
    view = CountingView(store.uri)
    write_map(view, MapConfig(landmarks=landmarks))
    assert view.num_read == num_read


def test_a_map_that_is_there_is_left_until_something_changes(store: Store) -> None:
    view = RunView(store.uri)
    first = write_map(view, CONFIG)
    assert write_map(view, CONFIG).was_there
    assert write_map(view, MapConfig(landmarks=80, rows_per_file=150, num_examples=7,
                                     device="cuda")).was_there  # fmt: skip
    assert not write_map(view, CONFIG, renew=True).was_there
    fewer = write_map(view, MapConfig(max_tokens=100, rows_per_file=60))
    assert not fewer.was_there and fewer.marker["tokens"] | {"columns": 0} == {
        "count": 100, "total": 600, "rows_per_file": 60, "columns": 0,
    }  # fmt: skip
    assert set(fewer.store.list()) == {*fewer.marker["objects"], MARKER}
    assert len(fewer.marker["objects"]) < len(first.marker["objects"])
    fewer.store.delete("tokens/x-0001.bin")
    mended = write_map(view, MapConfig(max_tokens=100, rows_per_file=60))
    assert not mended.was_there and mended.store.exists("tokens/x-0001.bin")


def test_other_clusters_have_a_map_of_their_own(store: Store) -> None:
    put_clusters(store, "clusters-k30")
    view = RunView(f"{store.uri}/clusters-k30")
    assert map_folder(view) == "map-k30"
    written = write_map(view, CONFIG)
    assert written.store.uri == f"{store.uri}/map-k30" and not store.exists("map/map.json")
    assert written.marker["title"] == "run / clusters-k30"


def test_tokens_that_were_added_are_drawn_outside_the_clusters(store: Store) -> None:
    old = made(store)
    add_tokens(store, text(9, 2))
    info = read_info(store)
    gone = STAGES.remove_stale(store, store.list(), info.probe_sha256, keep_clusters=True)
    assert {"map/map.json", "map/tokens/x-0000.bin"} <= gone and not store.list("map")
    summed_up(store)
    found = made(store)
    assert found.marker["tokens"]["total"] == 780 and len(found.sequences) == 39
    later = found.tokens["token_id"] >= 600
    assert later.sum() == 180 and (found.tokens["cluster"][later] == -1).all()
    assert found.marker["clusters"]["count"] == old.marker["clusters"]["count"]


def test_a_folder_of_something_else_is_left_alone(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("1")
    with pytest.raises(ValueError, match=r"files that are of no map \(chapter\.tex"):
        write_map(RunView(store.uri), CONFIG, Store(str(folder)))
    assert [path.name for path in folder.iterdir()] == ["chapter.tex"]


def test_a_copy_is_checked(store: Store, tmp_path: Path) -> None:
    written = write_map(RunView(store.uri), CONFIG)
    copied = copy_map(written.store, Store(str(tmp_path / "copy")))
    assert copied.store.list() == written.store.list()
    path = Path(written.store.root) / "tokens/y-0000.bin"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(DamagedObjectError, match=r"tokens/y-0000\.bin is damaged"):
        copy_map(written.store, Store(str(tmp_path / "copy")))


def test_a_map_on_s3_is_the_same_map(
    store: Store, tmp_path: Path, moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    there = Store(f"s3://{BUCKET}/{tmp_path.name}/map")
    assert not write_map(RunView(store.uri), CONFIG, there).was_there
    assert write_map(RunView(store.uri), CONFIG, there).was_there
    back = copy_map(there, Store(str(tmp_path / "back"))).store
    here = write_map(RunView(store.uri), CONFIG).store
    assert back.list() == here.list()
    assert all(back.read(name) == here.read(name) for name in here.list())


def test_what_an_interrupted_writer_left_may_go(store: Store) -> None:
    written = write_map(RunView(store.uri), CONFIG)
    assert not STAGES.leftovers(store, set(store.list()))
    written.store.delete(MARKER)
    names = {name for name in store.list() if name.startswith("map/")}
    assert STAGES.leftovers(store, set(store.list())) == names
    assert not write_map(RunView(store.uri), CONFIG).was_there


def test_a_run_without_clusters_is_told_how_to_get_them(tmp_path: Path) -> None:
    made_run = make_run(tmp_path / "run", text(4, 1))
    with pytest.raises(ValueError, match="no clusters yet: make them with spectro cluster"):
        write_map(RunView(made_run.uri), CONFIG)


def test_what_is_missing_is_said_before_anything_is_removed(store: Store) -> None:
    old = write_map(RunView(store.uri), CONFIG)
    store.delete("assembly/part-00003.json")
    with pytest.raises(ValueError, match=r"not measured yet .*: measure them with spectro resume"):
        write_map(RunView(store.uri), CONFIG, renew=True)
    assert set(store.child("map").list()) == {*old.marker["objects"], MARKER}


@pytest.mark.skipif(torch.cuda.is_available(), reason="has the CUDA device that must be absent")
def test_a_device_that_is_not_there(store: Store) -> None:
    with pytest.raises(ValueError, match=r"map\.device is 'cuda' but torch sees no CUDA device"):
        write_map(RunView(store.uri), MapConfig(device="cuda"))
