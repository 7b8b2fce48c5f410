"""Tokens that clusters do not know, assigned to them: from storage to storage."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmarks.product import do_units, product_config
from spectro.cluster_stage.assign import assign_tokens
from spectro.cluster_stage.clustered import ClusteredTokens
from spectro.cluster_stage.units import Layout, cluster_units, rows_of_shards
from spectro.clustering.assign import local_scales_of
from spectro.clustering.config import AssignConfig, ClusterConfig, NeighbourSearch
from spectro.formats.clusters.assigned import PREFIX
from spectro.formats.clusters.clusterings import find_clustering, read_clustering
from spectro.formats.derived_objects import put_derived
from spectro.formats.object_kinds import kind_of
from spectro.formats.product import SUMMARY_NAME, moments_name, part_name
from spectro.formats.tokens import read_info
from spectro.measure.units import SummaryUnit
from spectro.pipeline.stages import STAGES
from spectro.storage.store import DamagedObjectError, Store
from tests.run.made_runs import (
    COMPONENTS,
    CONFIG,
    CONTEXT,
    add_tokens,
    joined,
    make_run,
    put_clusters,
    text,
)

FIRST, MORE = text(30, 1), text(9, 2)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A run with clusters, and tokens that were added after; look, do not touch."""
    made = make_run(tmp_path_factory.mktemp("extended") / "run", FIRST)
    assert len(put_clusters(made)) >= 4
    add_tokens(made, MORE)
    return made


@pytest.fixture
def store(extended: Store, tmp_path: Path) -> Store:
    """A copy of it."""
    return Store(str(shutil.copytree(extended.root, tmp_path / "run")))


IN_BLOCKS = dataclasses.replace(CONFIG, neighbour_rows=250)
"""600 tokens in three blocks of lists."""


def run_stage(store: Store, config: ClusterConfig, folder: str = "clusters") -> None:
    """The cluster stage as a run does it: lists, then clusters."""
    info = read_info(store)
    put_derived(
        store, SUMMARY_NAME, {"centred_reliability": [1.0] * len(COMPONENTS)}, info.probe_sha256
    )
    shard_rows = rows_of_shards(info.splits["probe"].shard_sizes, CONTEXT)
    goal = cluster_units(
        SummaryUnit(num_shards=len(shard_rows), groups=()),
        config,
        Layout(shard_rows=shard_rows, block_rows=config.neighbour_rows),
        info.probe_sha256,
        folder=folder,
        with_stability=False,
    )
    do_units(product_config(store.uri, config, clusters=folder), goal, lambda unit, do: do())


def forget_assigned(store: Store) -> None:
    store.delete_many([name for name in store.list() if PREFIX in name])


def table(store: Store):
    names = [n for n in store.list("clusters") if PREFIX in n and n.endswith(".parquet")]
    assert len(names) == 1 and all(kind_of(n) == "assigned" for n in names)
    return pq.read_table(store.path(names[0])).to_pandas()


def share_right(store: Store, folder: str, put: pd.DataFrame) -> float:
    """Of the added tokens that were planted in a pile, those that went to its cluster.

    y says which pile a token was planted in, of new tokens as of those that were clustered. Piles
    lie far apart: only tokens at the edge of a pile may be left out.
    """
    members = pq.read_table(store.path(f"{folder}/members.parquet")).to_pandas()
    y_old, y_new = (part.ids_ST1[:, 1:].reshape(-1) for part in (FIRST, MORE))
    by_cluster = members.groupby("cluster_id")["token_id"]
    pile = {c: np.bincount(y_old[ids] // 5).argmax() for c, ids in by_cluster}
    inside = y_new < 20
    given = np.array([pile.get(c, -1) for c in put["cluster_id"]])
    return float(np.mean(given[inside] == y_new[inside] // 5))


def test_added_tokens_go_where_their_like_went(store: Store) -> None:
    found = assign_tokens(store.uri, None, AssignConfig())
    assert not found.was_there
    put = table(store)
    first = len(FIRST) * CONTEXT
    assert put["token_id"].tolist() == list(range(first, first + len(MORE) * CONTEXT))
    assert share_right(store, "clusters", put) > 0.9
    assert put["share"].between(0, 1).all()


def test_a_second_time_finds_it_there(store: Store) -> None:
    assign_tokens(store.uri, None, AssignConfig())
    before = {name: store.read(name) for name in store.list()}
    again = assign_tokens(store.uri, None, AssignConfig())
    assert again.was_there
    assert {name: store.read(name) for name in store.list()} == before
    other = assign_tokens(store.uri, None, AssignConfig(min_share=0.6))
    assert not other.was_there and len(store.list()) == len(before) + 2


@pytest.mark.parametrize("ending", [".json", ".parquet"])
def test_what_was_lost_is_made_again(store: Store, ending: str) -> None:
    found = assign_tokens(store.uri, None, AssignConfig())
    before = {name: store.read(name) for name in store.list()}
    lost = next(name for name in before if PREFIX in name and name.endswith(ending))
    store.delete(lost)
    again = assign_tokens(store.uri, None, AssignConfig())
    assert not again.was_there and again.name == found.name
    assert {name: store.read(name) for name in store.list()} == before


def test_a_damaged_table_is_noticed(store: Store) -> None:
    name = assign_tokens(store.uri, None, AssignConfig()).name.removeprefix(f"{store.uri}/")
    store.delete(name)
    store.put(name, b"something else")
    with pytest.raises(DamagedObjectError, match="assigned-"):
        assign_tokens(store.uri, None, AssignConfig())


def test_shards_of_another_run_give_the_same(store: Store, tmp_path: Path) -> None:
    """The same tokens in a run of their own, cut into other shards, with others."""
    added = assign_tokens(store.uri, None, AssignConfig())
    other = make_run(tmp_path / "other", joined(MORE, text(4, 3)))
    found = assign_tokens(store.uri, other.uri, AssignConfig())
    num_added = added.cluster_M.size
    assert found.cluster_M.size == num_added + 4 * CONTEXT
    np.testing.assert_array_equal(found.cluster_M[:num_added], added.cluster_M)
    np.testing.assert_array_equal(found.share_M[:num_added], added.share_M)


def test_clusters_take_their_assignments_with_them(store: Store) -> None:
    assign_tokens(store.uri, None, AssignConfig())
    now = read_info(store).probe_sha256
    assert not STAGES.remove_stale(store, store.list(), now, keep_clusters=True)
    assert store.exists("clusters/cluster.json")
    gone = STAGES.remove_stale(store, store.list(), now)
    assert sum(PREFIX in name for name in gone) == 2
    assert not store.list("clusters")


def test_what_cannot_be_assigned_is_refused(store: Store, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", MORE, fingerprint="g")
    with pytest.raises(ValueError, match=r"fingerprint g, the clusters of .* f: .* other draws"):
        assign_tokens(store.uri, other.uri, AssignConfig())
    with pytest.raises(ValueError, match="not the folder of a run"):
        assign_tokens(store.uri, str(tmp_path), AssignConfig())
    whole = make_run(tmp_path / "whole", joined(FIRST, MORE))
    with pytest.raises(ValueError, match="no clusters yet"):
        assign_tokens(whole.uri, None, AssignConfig())
    put_clusters(whole)
    with pytest.raises(ValueError, match="no tokens that its clusters do not know"):
        assign_tokens(whole.uri, None, AssignConfig())
    for name in (part_name(4), moments_name(4)):
        store.delete(name)
    with pytest.raises(ValueError, match="measured to the end"):
        assign_tokens(store.uri, None, AssignConfig())
    assert not [name for name in store.list("clusters") if PREFIX in name]


@pytest.mark.parametrize("k", [None, 7, 12])
def test_lists_give_what_a_search_gives(tmp_path: Path, k: int | None) -> None:
    """k of the graph, fewer and more: more than the lists have are searched for."""
    store = make_run(tmp_path / "run", FIRST)
    run_stage(store, IN_BLOCKS)
    add_tokens(store, MORE)
    config = AssignConfig(num_neighbours=k)
    stored = read_clustering(find_clustering(store.uri))
    with ClusteredTokens(stored, str(tmp_path / "scratch")) as clustered:
        num = k or CONFIG.num_neighbours
        assert clustered.has_lists(num) == (num <= CONFIG.num_neighbours)
        searched = local_scales_of(clustered.vectors(), num)
        np.testing.assert_array_equal(clustered.local_scales(num).sigma_N, searched.sigma_N)
    with_lists = assign_tokens(store.uri, None, config, scratch=str(tmp_path / "scratch"))
    before = store.read(with_lists.name.removeprefix(f"{store.uri}/"))
    forget_assigned(store)
    lost = next(name for name in store.list("neighbours") if "lists-0001" in name)
    store.delete(lost)
    without = assign_tokens(store.uri, None, config)
    assert (without.name, without.was_there) == (with_lists.name, False)
    assert store.read(without.name.removeprefix(f"{store.uri}/")) == before
    assert (without.cluster_M >= 0).any()
    assert not [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()]


def test_damaged_lists_are_noticed(tmp_path: Path) -> None:
    store = make_run(tmp_path / "run", FIRST)
    run_stage(store, IN_BLOCKS)
    add_tokens(store, MORE)
    name = next(name for name in store.list("neighbours") if "lists-0002" in name)
    data = bytearray(store.read(name))
    data[-1] ^= 1
    store.delete(name)
    store.put(name, bytes(data))
    with pytest.raises(DamagedObjectError, match=r"lists-0002\.safetensors is damaged"):
        assign_tokens(store.uri, None, AssignConfig())


def test_approximate_widths_and_exact_ones_are_told_apart(tmp_path: Path) -> None:
    """Lists that may miss a neighbour give other widths than a search: they are not mixed up."""
    store = make_run(tmp_path / "run", FIRST)
    run_stage(store, dataclasses.replace(CONFIG, neighbour_search=NeighbourSearch.APPROXIMATE))
    add_tokens(store, MORE)
    found = assign_tokens(store.uri, None, AssignConfig())
    store.delete_many(list(store.list("neighbours")))
    other = assign_tokens(store.uri, None, AssignConfig())
    assert not other.was_there and other.name != found.name
    np.testing.assert_array_equal(other.cluster_M, found.cluster_M)  # so few rows: none is missed


def test_another_folder_of_clusters(tmp_path: Path) -> None:
    store = make_run(tmp_path / "run", FIRST)
    run_stage(store, CONFIG)
    run_stage(store, dataclasses.replace(CONFIG, num_neighbours=8), "clusters-k8")
    add_tokens(store, MORE)
    found = assign_tokens(f"{store.uri}/clusters-k8", None, AssignConfig())
    assert found.name.startswith(f"{store.uri}/clusters-k8/{PREFIX}")
    put = pq.read_table(found.name).to_pandas()
    assert share_right(store, "clusters-k8", put) > 0.9


def test_a_table_that_was_lost_and_comes_back_otherwise_is_described_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after another pyarrow, or another processor's last bits."""
    first = assign_tokens(store.uri, None, AssignConfig())
    name = first.name.removeprefix(f"{store.uri}/")
    before = store.read(name)
    store.delete(name)
    write = pq.write_table
    monkeypatch.setattr(
        pq, "write_table", lambda *of, **how: write(*of, **how | {"version": "1.0"})
    )
    again = assign_tokens(store.uri, None, AssignConfig())
    assert store.read(name) != before and not again.was_there
    np.testing.assert_array_equal(again.cluster_M, first.cluster_M)
    assert assign_tokens(store.uri, None, AssignConfig()).was_there
