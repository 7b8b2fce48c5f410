"""What a map counts: clusters that overlap, subsets that came later, a control in every state."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from spectro.views.map.write import write_map
from spectro.views.run_view import RunView
from tests.report.read_map import ReadMap, read_map
from tests.run.made_maps import QUICK, clustered_run, measure_control, of_subsets, summed_up
from tests.run.made_runs import CONFIG, CONTEXT, add_tokens, make_run, put_clusters, text

NAMES = ("code", "prose")


def made(store: Store) -> ReadMap:
    return read_map(write_map(RunView(store.uri), QUICK).store.root)


def test_tokens_of_overlapping_clusters_count_once(tmp_path: Path) -> None:
    store = make_run(tmp_path / "run", text(30, 1))
    put_clusters(store, config=dataclasses.replace(CONFIG, overlap=True, same_jaccard=1.0))
    summed_up(store)
    found = made(store)
    members = pq.read_table(f"{store.root}/clusters/members.parquet").to_pydict()
    sizes = found.clusters["size"]
    distinct = set(members["token_id"])
    assert sizes.sum() > len(distinct), "they overlap"
    assert found.marker["clusters"]["tokens"] == len(distinct)
    of_token: dict[int, list[int]] = {}
    for token_id, own in zip(members["token_id"], members["cluster_id"], strict=True):
        of_token.setdefault(token_id, []).append(own)
    for token_id, shown in zip(found.tokens["token_id"], found.tokens["cluster"], strict=True):
        own = of_token.get(int(token_id), [-1])
        assert shown in own and sizes[shown] == min(sizes[own]) if own != [-1] else shown == -1


def test_subsets_of_the_run_and_of_an_addition(tmp_path: Path) -> None:
    store = clustered_run(tmp_path / "run", of_subsets(text(30, 1), NAMES))
    found = made(store)
    assert dict(found.marker["facts"])["Tokens"] == "600 in 2 subsets"
    add_tokens(store, of_subsets(text(9, 2), (*NAMES, "later"), 2))
    store.delete("assembly/summary.json")
    summed_up(store)
    found = made(store)
    assert found.marker["subsets"] == [*NAMES, "later"]
    assert dict(found.marker["facts"])["Tokens"] == "780 in 3 subsets"
    sequence = found.tokens["token_id"].astype(int) // CONTEXT
    assert np.array_equal(found.tokens["subset"], np.where(sequence < 30, sequence % 2, 2))
    assert np.array_equal(found.sequence_subsets, [*[0, 1] * 15, *[2] * 9])
    members = pq.read_table(f"{store.root}/clusters/members.parquet").to_pydict()
    counts = np.zeros((found.marker["clusters"]["count"], 3), int)
    kind = np.array(members["token_id"]) // CONTEXT % 2
    np.add.at(counts, (np.array(members["cluster_id"]), kind), 1)
    assert np.array_equal(found.clusters["subset_counts"], counts)
    assert np.array_equal(found.clusters["subset"], counts.argmax(axis=1))


def test_a_control_not_run_not_clustered_and_clustered(tmp_path: Path) -> None:
    store = clustered_run(tmp_path / "run")

    def state() -> tuple[object, bool, bool]:
        told = made(store).marker
        return told["control"], told["control_measured"], told["is_control"]

    assert state() == (None, False, False)
    control = measure_control(store)
    assert state() == (None, True, False)
    shutil.copytree(Path(store.root) / "clusters", Path(control.root) / "clusters")
    found, *rest = state()
    assert rest == [True, False] and isinstance(found, dict)
    provenance = read_sealed(store, "clusters/cluster.json")
    assert found["tokens"] == provenance["num_clustered_tokens"] <= sum(found["sizes"])
    assert made(control).marker["is_control"]
