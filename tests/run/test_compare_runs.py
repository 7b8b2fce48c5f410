"""Clusterings of runs, from storage: places, shared tokens, and the command."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from spectro.cluster_stage.compare import compare_all
from spectro.formats.clusters.clusterings import find_clustering, read_clustering, shared_rows
from spectro.storage.store import DamagedObjectError, Store
from tests.run.made_runs import (
    CONFIG,
    CONTEXT,
    add_tokens,
    joined,
    make_run,
    put_clusters,
    text,
)

FIRST, SECOND = text(20, 1), text(12, 2)
Job = Callable[..., int]


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = make_run(tmp_path_factory.mktemp("clustered") / "a", joined(FIRST, SECOND))
    put_clusters(store)
    return store


@pytest.fixture
def run_a(clustered: Store, tmp_path: Path) -> Store:
    return Store(str(shutil.copytree(clustered.root, tmp_path / "a")))


def test_places_of_one_run(run_a: Store) -> None:
    """The run, its folder of clusters, and another folder of clusters beside it."""
    put_clusters(run_a, "clusters-k8", config=dataclasses.replace(CONFIG, num_neighbours=8))
    put_clusters(run_a, "clusters/half-0")
    for inside in ("", "/clusters", "/clusters-k8", "/clusters/half-0"):
        place = find_clustering(run_a.uri + inside)
        assert place.clusters.uri == run_a.uri + (inside or "/clusters")
        assert Path(place.root.root) == Path(place.part.root) == Path(run_a.root)
    (pair,) = compare_all([run_a.uri, f"{run_a.uri}/clusters/half-0"])
    assert pair.comparison.ari_all == pytest.approx(1.0)
    (pair,) = compare_all([run_a.uri, f"{run_a.uri}/clusters-k8"])
    assert 0 < pair.comparison.a.share_matched <= 1.0


def test_runs_that_share_some_sequences(run_a: Store, tmp_path: Path) -> None:
    """Another order, more sequences and others missing: rows of equal sequences meet.

    `run_b` has the second part first, a double of a sequence, and new ones between.
    """
    again = joined(FIRST, FIRST)
    run_b = make_run(tmp_path / "b", joined(SECOND, text(5, 3), again))
    put_clusters(run_b)
    a, b = (read_clustering(find_clustering(run.uri)) for run in (run_a, run_b))
    row_a, row_b, num = shared_rows(a, b)
    assert num == 32 * CONTEXT
    ids_a = joined(FIRST, SECOND).ids_ST1[:, 1:].reshape(-1)
    ids_b = joined(SECOND, text(5, 3), again).ids_ST1[:, 1:].reshape(-1)
    for rows in (row_a, row_b):
        assert sorted(rows[rows >= 0]) == list(range(num))
    meeting_a, meeting_b = np.empty(num, int), np.empty(num, int)
    meeting_a[row_a[row_a >= 0]] = ids_a[row_a >= 0]
    meeting_b[row_b[row_b >= 0]] = ids_b[row_b >= 0]
    np.testing.assert_array_equal(meeting_a, meeting_b)
    assert (row_b[37 * CONTEXT :] == -1).all()  # the doubles have no partner
    (pair,) = compare_all([run_a.uri, run_b.uri])
    assert pair.comparison.num_common == num
    # The same piles were planted in both, among other tokens; rows that did not meet would give 0.
    assert pair.comparison.ari_all > 0.3


def test_clusters_of_fewer_tokens_than_the_run_has_now(run_a: Store, tmp_path: Path) -> None:
    add_tokens(run_a, text(4, 5))
    run_b = make_run(tmp_path / "b", joined(FIRST, SECOND, text(4, 5)))
    put_clusters(run_b)
    (pair,) = compare_all([run_a.uri, run_b.uri])
    assert pair.comparison.num_common == 32 * CONTEXT


def test_chance_among_tokens_of_the_same_y(run_a: Store, tmp_path: Path) -> None:
    """Piles are planted by y: what two clusterings share is explained by y alone."""
    run_b = make_run(tmp_path / "b", joined(SECOND, FIRST), noise_seed=7)
    put_clusters(run_b)
    (free,) = compare_all([run_a.uri, run_b.uri])
    (within,) = compare_all([run_a.uri, run_b.uri], same_token=True)
    observed, chance, by_y = (
        free.comparison.a.best.jaccard_C.max(),
        free.comparison.a.null_C.max(),
        within.comparison.a.null_C.max(),
    )
    assert observed > 0.9 and chance < 0.3 and by_y > 0.8


def test_a_run_of_the_earlier_layout_is_refused(run_a: Store) -> None:
    """Not as clusters that lie in no run."""
    above = Path(run_a.root)
    for marker in (above / "assembly").iterdir():
        marker.rename(above / "susceptibilities" / marker.name)
    with pytest.raises(ValueError, match="earlier version of spectro"):
        find_clustering(run_a.uri)


def test_what_cannot_be_compared(run_a: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither a run nor a folder of clusters"):
        compare_all([run_a.uri, str(tmp_path)])
    bare = make_run(tmp_path / "bare", FIRST)
    with pytest.raises(ValueError, match="no clusters yet"):
        compare_all([run_a.uri, bare.uri])
    other = make_run(tmp_path / "other", text(20, 8))
    put_clusters(other)
    with pytest.raises(ValueError, match=r"none of 32 and 20 sequences .* is in both"):
        compare_all([run_a.uri, other.uri])
    data = run_a.read("clusters/clusters.parquet")
    run_a.delete("clusters/members.parquet")
    run_a.put("clusters/members.parquet", data)
    with pytest.raises(DamagedObjectError, match="members"):
        compare_all([run_a.uri, run_a.uri])


def test_the_command(
    run_a: Store, tmp_path: Path, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    put_clusters(run_a, "other", config=dataclasses.replace(CONFIG, num_neighbours=8))
    places = [run_a.uri, f"{run_a.uri}/other"]
    given = f"compare.places=[{','.join(places)}]"
    out = f"compare.out={tmp_path}/told.parquet"
    assert job("compare", given, out) == 0
    told = capsys.readouterr().out
    assert "adjusted Rand" in told and "by chance" in told
    rows = pq.read_table(tmp_path / "told.parquet").to_pandas()
    sizes = [read_clustering(find_clustering(place)).size_C for place in places]
    assert rows["size"].tolist() == [*sizes[0], *sizes[1]]
    assert rows.groupby("clusters_of", sort=False)["matched"].sum().nunique() == 1
    before = (tmp_path / "told.parquet").read_bytes()
    (tmp_path / "told.parquet").write_text("old")
    assert job("compare", given, out) == 0
    assert (tmp_path / "told.parquet").read_bytes() == before
    capsys.readouterr()
    assert job("compare", given, f"compare.out={tmp_path}/told.csv", "compare.format=json") == 0
    (pair,) = json.loads(capsys.readouterr().out)
    assert pair["num_common"] == 32 * CONTEXT and pair["a"]["num_clusters"] == sizes[0].size
    assert pyarrow.csv.read_csv(tmp_path / "told.csv").num_rows == len(rows)
    three = f"compare.places=[{','.join([*places, run_a.uri])}]"
    assert job("compare", three) == 0
    assert "3 pairs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("compare.places=[a]", "at least two clusterings, found 1"),
        ("compare.threshold=0", "compare.threshold must be in (0, 1]"),
        ("compare.out=a.txt", "must end in .parquet or .csv"),
        ("compare.seed=-1", "compare.seed must not be negative"),
        ("compare.places=[a,nowhere]", "neither a run nor a folder of clusters"),
    ],
)
def test_wrong_arguments(
    job: Job, capsys: pytest.CaptureFixture[str], argument: str, message: str
) -> None:
    assert job("compare", argument) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
