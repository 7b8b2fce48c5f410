"""Verification of clusters, neighbour lists and assignments: every folder, and every remedy."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spectro.cluster_stage.assign import assign_tokens
from spectro.cluster_stage.clustered import ClusteredTokens
from spectro.cluster_stage.compare import compare_all
from spectro.clustering.assign import local_scales_of
from spectro.clustering.config import AssignConfig, ClusterConfig, NeighbourSearch
from spectro.config import PipelineConfig
from spectro.formats.clusters.clusterings import find_clustering, read_clustering
from spectro.formats.derived_objects import TOKENS
from spectro.formats.shard_file import to_bytes
from spectro.inspect.status import read_status
from spectro.inspect.verify import DAMAGED, MISSING, Verification, verify_run
from spectro.pipeline.run import Goal, run_pipeline
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import ObjectInfo, Store
from spectro.work.progress import Progress

MakeCopy = Callable[[], tuple[Store, PipelineConfig]]
FOLDERS = ("clusters", "clusters-k6", "clusters/half-0", "clusters-k6/half-1")
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def clustered(
    whole_run: PipelineConfig, tmp_path_factory: pytest.TempPathFactory
) -> PipelineConfig:
    """The whole run with a second clustering beside its own, and tokens assigned to both."""
    uri = str(tmp_path_factory.mktemp("clustered") / "run")
    shutil.copytree(whole_run.run.uri, uri)
    fewer = dataclasses.replace(whole_run.cluster, num_neighbours=6)
    go_on(uri, whole_run, clusters="clusters-k6", cluster=fewer, goal=Goal.CLUSTER)
    for folder in FOLDERS:
        assign_tokens(f"{uri}/{folder}", whole_run.run.uri, AssignConfig())
    return dataclasses.replace(whole_run, run=dataclasses.replace(whole_run.run, uri=uri))


@pytest.fixture
def store(clustered: PipelineConfig, tmp_path: Path) -> Store:
    """A copy that may be spoilt."""
    return Store(str(shutil.copytree(clustered.run.uri, tmp_path / "copy")))


def go_on(
    uri: str,
    config: PipelineConfig,
    *,
    clusters: str = "clusters",
    cluster: ClusterConfig | None = None,
    goal: Goal = Goal.REPORT,
) -> None:
    """The same command again."""
    run = dataclasses.replace(config.run, uri=uri, clusters=clusters)
    config = dataclasses.replace(config, run=run, cluster=cluster or config.cluster)
    run_pipeline(config, Progress(), goal=goal)


def named(found: Verification, what: str) -> set[str]:
    return {fault.name for fault in found.faults if fault.what == what}


def first_of(store: Store, pattern: str) -> str:
    return str(sorted(Path(store.root).glob(pattern))[0].relative_to(store.root))


def put_anew(store: Store, name: str, data: bytes) -> None:
    store.delete(name)
    store.put(name, data)


def flip(store: Store, name: str) -> None:
    data = bytearray(store.read(name))
    data[len(data) // 2] ^= 1
    put_anew(store, name, bytes(data))


def put_told(store: Store, folder: str, **told: object) -> None:
    """Other words in a cluster.json, sealed as ever."""
    name = f"{folder}/cluster.json"
    put_anew(store, name, seal({**read_sealed(store, name), **told}))


def put_members(store: Store, folder: str, table: pa.Table) -> None:
    """Another table of members, with a checksum that agrees: a fault of ours, not of the disk."""
    data = to_bytes(table)
    put_anew(store, f"{folder}/members.parquet", data)
    objects = read_sealed(store, f"{folder}/cluster.json")["objects"]
    info = dataclasses.asdict(ObjectInfo.of(data))
    put_told(store, folder, objects={**objects, "members.parquet": info})


def without_clusters(store: Store) -> None:
    """As before clusters were asked for; the lists are there."""
    gone = ("clusters/", "report/", "control/clusters/", "clusters-k6/", "control/clusters-k6/")
    store.delete_many([name for name in store.list() if name.startswith(gone)])


def test_all_folders_are_whole_and_counted(store: Store, whole_run: PipelineConfig) -> None:
    found = verify_run(store, whole_run)
    assert (found.faults, found.undone, found.leftovers) == ((), (), ())
    # clusters, two halves, two settings, run and control; four assignments
    assert found.kinds["clusters"].objects == 3 * 3 * 2 * 2
    assert found.kinds["assigned"].objects == 2 * len(FOLDERS)
    assert found.kinds["lists"].objects == 3 * 3 * 2 * 2
    status = read_status(store, whole_run, NOW)
    assert (status.state, status.done) == ("done", status.units)


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("table", ["clusters.parquet", "members.parquet", "cluster.json"])
def test_a_flipped_bit_in_any_folder_is_named(
    store: Store, whole_run: PipelineConfig, folder: str, table: str
) -> None:
    name = f"{folder}/{table}"
    flip(store, name)
    found = verify_run(store, whole_run)
    assert named(found, DAMAGED) == {name}
    top = folder.split("/")[0]
    assert f"delete the folder {top}/" in found.faults[0].message


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("wrong", ["sizes", "beyond", "fingerprint", "tokens"])
def test_every_folder_is_held_against_its_tables_and_the_rows(
    store: Store, whole_run: PipelineConfig, folder: str, wrong: str
) -> None:
    members = pq.read_table(store.path(f"{folder}/members.parquet"))
    statistics = read_sealed(store, f"{folder}/cluster.json")["statistics"]
    num_tokens = statistics["num_tokens"]
    if wrong == "sizes":
        put_members(store, folder, pa.concat_tables([members, members.slice(0, 1)]))
        words = "sizes are not the numbers of their members"
    elif wrong == "beyond":
        token_id = np.asarray(members["token_id"]).copy()
        token_id[0] = num_tokens
        put_members(store, folder, members.set_column(0, "token_id", pa.array(token_id)))
        words = f"they were made from {num_tokens}"
    elif wrong == "fingerprint":
        put_told(store, folder, product_fingerprint="of another run")
        words = "rows of another fingerprint"
    else:
        put_told(store, folder, statistics={**statistics, "num_tokens": num_tokens + 16})
        words = f"made from {num_tokens + 16} tokens, the product has {num_tokens}"
    found = verify_run(store, whole_run)
    assert named(found, DAMAGED) == {f"{folder}/cluster.json"}
    assert words in found.faults[0].message


@pytest.mark.parametrize("folder", FOLDERS)
def test_clusters_of_fewer_tokens_are_stale_not_damaged(
    store: Store, whole_run: PipelineConfig, folder: str
) -> None:
    statistics = read_sealed(store, f"{folder}/cluster.json")["statistics"]
    members = pq.read_table(store.path(f"{folder}/members.parquet"))
    highest = int(np.asarray(members["token_id"]).max())
    told = {TOKENS: "of those before", "statistics": {**statistics, "num_tokens": highest + 1}}
    put_told(store, folder, **told)
    assert verify_run(store, whole_run).faults == ()
    put_told(store, folder, statistics={**statistics, "num_tokens": highest})
    assert named(verify_run(store, whole_run), DAMAGED) == {f"{folder}/cluster.json"}


@pytest.mark.parametrize("name", ["clusters.parquet", "cluster.json", "half-1/members.parquet"])
def test_clusters_are_made_again_as_verify_says(
    store: Store, whole_run: PipelineConfig, name: str
) -> None:
    made = set(store.list("clusters"))  # without what is made on request
    before = {n: store.read(n) for n in made if not any(k in n for k in ("assigned", "/names."))}
    flip(store, f"clusters/{name}")
    (fault,) = verify_run(store, whole_run).faults
    assert "delete the folder clusters/; the run makes it again" in fault.message
    store.delete_many(list(store.list("clusters")))
    go_on(store.uri, whole_run)
    assert {n: store.read(n) for n in store.list("clusters")} == before
    assert verify_run(store, whole_run).faults == ()


def test_other_clusters_are_made_again_as_verify_says(
    store: Store, whole_run: PipelineConfig
) -> None:
    before = store.read("clusters-k6/half-0/members.parquet")
    store.delete("clusters-k6/half-0/members.parquet")
    (fault,) = verify_run(store, whole_run).faults
    assert (fault.name, fault.what) == ("clusters-k6/half-0/members.parquet", MISSING)
    assert "the run with run.clusters=clusters-k6 makes it again" in fault.message
    store.delete_many(list(store.list("clusters-k6")))
    assert verify_run(store, whole_run).faults == ()
    fewer = dataclasses.replace(whole_run.cluster, num_neighbours=6)
    go_on(store.uri, whole_run, clusters="clusters-k6", cluster=fewer, goal=Goal.CLUSTER)
    assert store.read("clusters-k6/half-0/members.parquet") == before


def test_lists_of_finished_clusters_may_be_missing(store: Store, whole_run: PipelineConfig) -> None:
    for name in sorted(store.list("neighbours")):
        store.delete(name)
        assert verify_run(store, whole_run).faults == (), name
    assert read_status(store, whole_run, NOW).state == "done"


REMEDIES = {
    "lists-0000.safetensors": (("lists-0000.safetensors", "recall.json"), "the recall.json beside"),
    "transform.json": (("",), "delete the folder neighbours/"),
    "recall.json": (("recall.json",), "delete it"),
}


@pytest.mark.parametrize("what", [DAMAGED, MISSING])
@pytest.mark.parametrize("last", REMEDIES)
def test_lists_are_made_again_as_verify_says(
    store: Store, whole_run: PipelineConfig, last: str, what: str
) -> None:
    """While clusters are to do, a set whose recall is there counts as whole."""
    key = read_sealed(store, "clusters/cluster.json")["lists"]
    before = {n: store.read(n) for n in store.list() if n.startswith((key, "clusters/c"))}
    without_clusters(store)
    if what == DAMAGED:
        flip(store, f"{key}/{last}")
    else:
        store.delete(f"{key}/{last}")
    found = verify_run(store, whole_run)
    if what == MISSING and last == "recall.json":
        assert found.faults == () and f"{key}/recall.json" in found.undone
    else:
        assert named(found, what) == {f"{key}/{last}"}
        assert REMEDIES[last][1] in found.faults[0].message
    gone = [n for n in store.list() if n.startswith(tuple(f"{key}/{x}" for x in REMEDIES[last][0]))]
    store.delete_many(gone)
    go_on(store.uri, whole_run)
    assert {n: store.read(n) for n in before} == before
    assert verify_run(store, whole_run).faults == ()


def test_pairs_count_as_done_when_their_lists_are_there(
    store: Store, whole_run: PipelineConfig
) -> None:
    """They are left over then, and may be gone; before, a damaged one is named."""
    store.delete_many([name for name in store.list() if "/neighbours/" in f"/{name}"])
    without_clusters(store)
    cluster = dataclasses.replace(
        whole_run.cluster, neighbour_search=NeighbourSearch.APPROXIMATE, neighbour_rows=40,
        stability=False,
    )  # fmt: skip
    config = dataclasses.replace(whole_run, cluster=cluster)
    go_on(store.uri, config, goal=Goal.CLUSTER)
    (key,) = {name.split("/")[1] for name in store.list("neighbours")}
    lists = [name for name in store.list("neighbours") if "/lists-" in name]
    assert len(lists) == 3 and not [n for n in store.list() if "/pairs/" in n]
    without_clusters(store)
    found = verify_run(store, config)
    assert found.faults == ()
    assert not [unit for unit in found.undone if "neighbours" in unit]
    stage = read_status(store, config, NOW).stages["neighbours"]
    assert stage.done == stage.units == 8  # transform, three pairs, three lists, recall
    pair = f"neighbours/{key}/pairs/0000-0001.safetensors"
    store.put(pair, b"x")
    assert verify_run(store, config).leftovers == (pair,)
    store.delete_many([f"neighbours/{key}/lists-0001.safetensors"])
    assert pair in named(verify_run(store, config), DAMAGED)


@pytest.mark.parametrize("ending", [".parquet", ".json"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_assignments_are_made_again_as_verify_says(
    store: Store, whole_run: PipelineConfig, folder: str, ending: str
) -> None:
    name = first_of(store, f"{folder}/assigned-*{ending}")
    stem = name.removesuffix(ending)
    before = {n: store.read(n) for n in store.list() if n.startswith(stem)}
    flip(store, name)
    found = verify_run(store, whole_run)
    assert named(found, DAMAGED) == {name} and found.kinds["assigned"].damaged == 1
    assert "what has its name beside it; spectro assign makes both" in found.faults[0].message
    store.delete_many(list(before))
    assign_tokens(f"{store.uri}/{folder}", whole_run.run.uri, AssignConfig())
    assert {n: store.read(n) for n in store.list() if n.startswith(stem)} == before
    assert verify_run(store, whole_run).faults == ()


def test_assignments_are_held_against_their_markers(
    store: Store, whole_run: PipelineConfig
) -> None:
    marker = first_of(store, "clusters-k6/assigned-*.json")
    table = marker.replace(".json", ".parquet")
    data, content = store.read(table), read_sealed(store, marker)
    store.delete(table)
    assert named(verify_run(store, whole_run), MISSING) == {table}
    store.put(table, data)
    put_anew(store, marker, seal({**content, "num_assigned": content["num_assigned"] + 1}))
    assert named(verify_run(store, whole_run), DAMAGED) == {table}
    put_anew(store, marker, seal({**content, "inputs": {**content["inputs"], "tokens": "others"}}))
    assert named(verify_run(store, whole_run), DAMAGED) == {marker}
    store.delete(marker)  # as of a writer that died before it
    assert verify_run(store, whole_run).faults == ()


def test_states_of_rounds_are_named_by_their_content(
    store: Store, whole_run: PipelineConfig
) -> None:
    last = "state/rounds-000000003-0123456789abcdef.safetensors"
    store.put(f"clusters/{last}", b"x")
    store.put(f"clusters-k30/half-0/{last}", b"x")
    found = verify_run(store, whole_run)
    assert found.leftovers == (f"clusters/{last}",)
    assert named(found, DAMAGED) == {f"clusters-k30/half-0/{last}"}


def test_folders_of_clusters_are_places(store: Store) -> None:
    """The halves and another clustering can be compared with the run's own."""
    places = [f"{store.uri}/{folder}" for folder in FOLDERS]
    pairs = compare_all([store.uri, *places])
    assert [pair.a.place.clusters.uri for pair in pairs[:4]] == [f"{store.uri}/clusters"] * 4
    assert [pair.b.place.clusters.uri for pair in pairs[:4]] == places
    assert len({pair.comparison.num_common for pair in pairs}) == 1
    assert pairs[0].comparison.ari_all == pytest.approx(1.0)


@pytest.mark.parametrize("folder", FOLDERS)
def test_widths_are_those_of_the_folder_own_vectors(store: Store, folder: str) -> None:
    """A half's lists are of the distances along its own chains, and so are the vectors."""
    stored = read_clustering(find_clustering(f"{store.uri}/{folder}"))
    k = stored.provenance["config"]["num_neighbours"]
    assert k == (6 if folder.startswith("clusters-k6") else 8)
    with ClusteredTokens(stored) as tokens:
        assert tokens.has_lists(k)
        searched = local_scales_of(tokens.vectors(), k)
        np.testing.assert_array_equal(tokens.local_scales(k).sigma_N, searched.sigma_N)
