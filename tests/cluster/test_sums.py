"""Sums by blocks against the whole, bit by bit, and neighbours against all pairs."""

import importlib
from itertools import pairwise

import numpy as np
import pytest

from spectro.clustering.cluster_sums import ClusterSummary, ClusterSums, top_tokens
from spectro.clustering.describe import describe_sums, nearest_clusters
from spectro.clustering.matching import Clustering

DESCRIBE = importlib.import_module("spectro.clustering.describe")  # the package has its function
NUM_TOKENS, NUM_COLUMNS = 500, 6
RNG = np.random.default_rng(0)
CHI = RNG.normal(size=(NUM_TOKENS, NUM_COLUMNS)).astype(np.float32)
X = (1e3 * CHI[:, :4]).astype(np.float32)
TARGET = RNG.integers(0, 30, NUM_TOKENS).astype(np.int32)
SUBSET = RNG.integers(0, 3, NUM_TOKENS).astype(np.int16)
MEMBERS = [RNG.permutation(NUM_TOKENS)[:n] for n in (200, 90, 1)]
"""Overlapping."""


def summed(bounds: list[int]) -> ClusterSummary:
    sums = ClusterSums(Clustering.of(MEMBERS, NUM_TOKENS), 3)
    for low, high in pairwise(bounds):
        rows = slice(low, high)
        sums.add(CHI[rows], X[rows], TARGET[rows], SUBSET[rows])
    return sums.finish()


def test_sums_are_those_of_the_members():
    found = summed([0, 120, 120, 433, NUM_TOKENS])
    for cluster, rows in enumerate(MEMBERS):
        np.testing.assert_allclose(found.centroid_CD[cluster], X[rows].mean(0), rtol=1e-4)
        np.testing.assert_allclose(
            found.mean_chi_CH[cluster], CHI[rows].mean(0, dtype=float), rtol=1e-5, atol=1e-7
        )
        counts = np.bincount(TARGET[rows], minlength=30)
        ranked = sorted(range(30), key=lambda y: (-counts[y], y))[: min(10, (counts > 0).sum())]
        assert found.top_tokens[cluster].tolist() == ranked
        assert found.top_counts[cluster].tolist() == counts[ranked].tolist()
        subsets = np.bincount(SUBSET[rows], minlength=3)
        assert found.subset_counts_CS[cluster].tolist() == subsets.tolist()
    described = describe_sums(found, np.array([200, 90, 1]))
    assert described.token_purity_C[2] == described.purity_C[2] == 1.0
    assert described.purity_C[0] == np.float32(found.subset_counts_CS[0].max() / 200)


@pytest.mark.parametrize("step", [1, 37, 499])
def test_how_the_rows_are_cut_changes_no_bit(step: int):
    whole = summed([0, NUM_TOKENS])
    parts = summed([*range(0, NUM_TOKENS, step), NUM_TOKENS])
    np.testing.assert_array_equal(parts.centroid_CD, whole.centroid_CD)
    np.testing.assert_array_equal(parts.mean_chi_CH, whole.mean_chi_CH)
    np.testing.assert_array_equal(parts.subset_counts_CS, whole.subset_counts_CS)


def test_rows_that_are_missing_or_too_many():
    sums = ClusterSums(Clustering.of(MEMBERS, NUM_TOKENS), 3)
    sums.add(CHI[:400], X[:400], TARGET[:400], SUBSET[:400])
    with pytest.raises(ValueError, match="expected 500 rows, found 400"):
        sums.finish()
    with pytest.raises(ValueError, match="100 more rows at most, found 200"):
        sums.add(CHI[:200], X[:200], TARGET[:200], SUBSET[:200])
    with pytest.raises(ValueError, match="5 of χ, 5 vectors, 5 tokens, 4 subsets"):
        sums.add(CHI[:5], X[:5], TARGET[:5], SUBSET[:4])


def test_no_clusters_and_empty_ones():
    none = np.empty(0, np.int32)
    assert top_tokens(none, none, 0) == []
    (tokens, counts), _ = top_tokens(none, none, 2)
    assert tokens.size == counts.size == 0


@pytest.mark.parametrize("block", [1, 1000, 1 << 24])
def test_neighbours_are_those_of_all_pairs(monkeypatch: pytest.MonkeyPatch, block: int):
    """With doubles, and far from the origin, where the expanded square loses digits."""
    monkeypatch.setattr(DESCRIBE, "BLOCK_DISTANCES", block)
    centroid = (1e4 + np.random.default_rng(1).normal(size=(150, 5))).astype(np.float32)
    centroid[40] = centroid[7]
    index, distance = nearest_clusters(centroid, 5)
    away = np.sqrt(((centroid[:, None].astype(float) - centroid[None]) ** 2).sum(-1))
    np.fill_diagonal(away, np.inf)
    np.testing.assert_array_equal(index, np.argsort(away, axis=1, kind="stable")[:, :5])
    np.testing.assert_allclose(distance, np.sort(away, axis=1)[:, :5], rtol=1e-6, atol=1e-9)
