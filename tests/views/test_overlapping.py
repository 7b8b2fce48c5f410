"""Tokens in several clusters, from storage to what is shown of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from spectro.analysis.scaling import Scaling
from spectro.clustering.clusters import Clusters, cluster
from spectro.clustering.describe import TokenLabels, describe
from spectro.formats.clusters.clusters import write_clusters
from spectro.formats.product import read_product
from spectro.storage.store import Store
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.config import MatrixRows
from spectro.views.matrix import matrix
from spectro.views.query.config import Window
from spectro.views.query.lookups import find, nearest, of_cluster, of_token
from spectro.views.query.query import Query
from spectro.views.run_view import RunView
from tests.run.made_runs import COMPONENTS, CONFIG, make_run, text

PIECES = [b"t%d" % token for token in range(50)]
NUM_SHARED = 5
WINDOW = Window(before=2, after=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Clusters]:
    """A run of three shards, the first members of whose first cluster are in the last one too."""
    store = make_run(tmp_path_factory.mktemp("made") / "run", text(20, 1))
    product = read_product(store)
    found = cluster(product.chi_NH, CONFIG)
    members, scores = list(found.members), list(found.scores)
    least = np.full(NUM_SHARED, scores[-1].min() / 2, np.float32)
    members[-1] = np.concatenate([members[-1], np.sort(members[0][:NUM_SHARED])])
    scores[-1] = np.concatenate([scores[-1], least])
    both = dataclasses.replace(found, members=tuple(members), scores=tuple(scores))
    labels = TokenLabels(
        token_id_N=product.column("token_id"),
        token_N=product.column("token"),
        subset_N=np.zeros(len(product.chi_NH), np.int16),
        subset_names=("text",),
    )
    write_clusters(
        store.child("clusters").uri, both, describe(both, labels), labels, components=COMPONENTS
    )
    return store, both


@pytest.fixture
def query(made: tuple[Store, Clusters]) -> Iterator[Query]:
    with Query(RunView(made[0].uri), lambda: Vocabulary(pieces=PIECES)) as opened:
        yield opened


def test_a_cluster_is_shown_as_the_one_asked_for(
    query: Query, made: tuple[Store, Clusters]
) -> None:
    """Where the column of one cluster per token has the smallest of several."""
    _, found = made
    last = len(found) - 1
    for asked in (0, last):
        told = of_cluster(query, asked, WINDOW)
        assert told.table["token_id"].to_pylist() == found.members[asked].tolist()
        assert set(told.table["cluster_id"].to_pylist()) == {asked}
        assert told.num_rows == told.table.num_rows == found.size_C[asked]


def test_one_cluster_of_a_token_is_the_smallest(query: Query, made: tuple[Store, Clusters]) -> None:
    _, found = made
    last, shared = len(found) - 1, int(found.members[0][0])
    assert f"cluster {last}" in of_token(query, shared, WINDOW).notes[0]
    for told in (nearest(query, 0, 399, WINDOW), find(query, "t", WINDOW)):
        rows = {row["token_id"]: row["cluster_id"] for row in told.table.to_pylist()}
        label = found.label_N
        assert all(label[t] == (-1 if c is None else c) for t, c in rows.items())


@pytest.mark.parametrize("scaling", Scaling)
def test_rows_of_the_matrix_share_tokens(made: tuple[Store, Clusters], scaling: Scaling) -> None:
    store, found = made
    told = matrix(RunView(store.uri), MatrixRows.CLUSTERS, scaling=scaling, max_rows=len(found))
    chi = read_product(store).chi_NH.astype(np.float64)
    x = chi - chi.mean(axis=0)
    if scaling is not Scaling.RAW:
        x /= chi.std(axis=0)
    if scaling is Scaling.CENTRED:
        x -= x.mean(axis=1, keepdims=True)
    by_name = {int(name.split()[0][1:]): row for row, name in enumerate(told.names)}
    assert set(by_name) == set(range(len(found)))
    for index, row in by_name.items():
        own = found.members[index]
        assert told.num_tokens_R[row] == own.size
        np.testing.assert_allclose(told.mean_RH[row], x[own].mean(axis=0), atol=1e-6)
