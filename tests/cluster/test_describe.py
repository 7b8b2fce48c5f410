"""Descriptions by hand, and the tables read back."""

import duckdb
import numpy as np
import pandas as pd
import pytest
from planted import mixture

from spectro.clustering.clusters import Clusters, cluster
from spectro.clustering.config import ClusterConfig
from spectro.clustering.describe import TokenLabels, describe, nearest_clusters
from spectro.formats.clusters.clusters import read_clusters, write_clusters

COMPONENTS = [f"l0h{h}" for h in range(8)]
CHI, TRUTH = mixture(sizes=[30, 50, 80], num_body=300, num_columns=8)


@pytest.fixture(scope="module")
def found() -> Clusters:
    return cluster(CHI, ClusterConfig())


@pytest.fixture(scope="module")
def labels() -> TokenLabels:
    num_tokens = TRUTH.size
    return TokenLabels(
        token_id_N=np.arange(num_tokens, dtype=np.int64) * 3,
        token_N=(TRUTH + 100).astype(np.int32),
        subset_N=(np.arange(num_tokens) % 2).astype(np.int16),
        subset_names=("github", "arxiv"),
    )


def test_counts_and_shares(found: Clusters, labels: TokenLabels):
    description = describe(found, labels)
    for i, rows in enumerate(found.members):
        targets = pd.Series(labels.token_N[rows]).value_counts()
        assert description.top_counts[i][0] == targets.iloc[0]
        assert description.top_counts[i].sum() == rows.size
        assert description.token_purity_C[i] == pytest.approx(targets.iloc[0] / rows.size)
        even = int((rows % 2 == 0).sum())
        assert description.subset_counts_CS[i].tolist() == [even, rows.size - even]
        assert description.purity_C[i] == pytest.approx(max(even, rows.size - even) / rows.size)


def test_centroids_are_means(found: Clusters):
    x = found.transform.apply(CHI)
    standardised = (CHI - CHI.mean(0)) / CHI.std(0)
    for i, rows in enumerate(found.members):
        np.testing.assert_allclose(found.centroid_CD[i], x[rows].mean(0), atol=1e-4)
        np.testing.assert_allclose(found.mean_chi_CH[i], standardised[rows].mean(0), atol=1e-4)


def test_neighbours_between_clusters():
    index, distance = nearest_clusters(np.array([[0.0], [1.0], [5.0]], np.float32), 5)
    assert index.tolist() == [[1, 2], [0, 2], [1, 0]]
    assert distance.tolist() == [[1, 5], [1, 4], [4, 5]]
    assert nearest_clusters(np.zeros((0, 4), np.float32), 5)[0].shape == (0, 0)
    assert nearest_clusters(np.zeros((1, 4), np.float32), 5)[0].shape == (1, 0)


def test_labels_of_other_tokens_are_refused(found: Clusters, labels: TokenLabels):
    few = TokenLabels(
        token_id_N=labels.token_id_N[:5],
        token_N=labels.token_N[:5],
        subset_N=labels.subset_N[:5],
        subset_names=labels.subset_names,
    )
    with pytest.raises(ValueError, match="same product"):
        describe(found, few)


def test_read_back(tmp_path, found: Clusters, labels: TokenLabels):
    uri = str(tmp_path / "clusters")
    description = describe(found, labels)
    write_clusters(
        uri, found, description, labels, components=COMPONENTS, extra={"fingerprint": "f"}
    )
    stored = read_clusters(uri)
    assert stored.provenance["num_clusters"] == len(found) and stored.provenance["fingerprint"]
    np.testing.assert_array_equal(stored.transform.apply(CHI), found.transform.apply(CHI))
    assert stored.clusters["size"].to_pylist() == found.size_C.tolist()
    assert stored.members.num_rows == found.size_C.sum()
    joined = duckdb.sql(
        f"select c.size, count(*) n from '{uri}/clusters.parquet' c "
        f"join '{uri}/members.parquet' m using (cluster_id) group by c.cluster_id, c.size"
    ).fetchall()
    assert len(joined) == len(found) and all(size == n for size, n in joined)
    frame = pd.read_parquet(f"{uri}/clusters.parquet")
    np.testing.assert_array_equal(np.stack(frame["centroid"]), found.centroid_CD)
    with pytest.raises(FileExistsError, match="already written"):
        write_clusters(uri, found, description, labels, components=COMPONENTS)


def test_the_same_clusters_give_the_same_bytes(tmp_path, found: Clusters, labels: TokenLabels):
    for name in ("one", "two"):
        uri = str(tmp_path / name)
        write_clusters(uri, found, describe(found, labels), labels, components=COMPONENTS)
    for name in ("clusters.parquet", "members.parquet", "cluster.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_no_clusters_at_all(tmp_path, labels: TokenLabels):
    body = mixture(sizes=[], num_body=TRUTH.size, num_columns=8)[0]
    none = cluster(body, ClusterConfig(max_conductance=1e-12))
    assert len(none) == 0 and (none.label_N == -1).all()
    uri = str(tmp_path)
    write_clusters(uri, none, describe(none, labels), labels, components=COMPONENTS)
    assert read_clusters(uri).clusters.num_rows == 0


def test_wrong_number_of_components(tmp_path, found: Clusters, labels: TokenLabels):
    with pytest.raises(ValueError, match="1 component names for 8 columns"):
        write_clusters(str(tmp_path), found, describe(found, labels), labels, components=["l0h0"])
    assert not list(tmp_path.iterdir())
