"""Assignment against the rule written out, token by token, and on planted clusters."""

import numpy as np
import pytest
from planted import mixture

from spectro.clustering.assign import (
    NONE,
    assign,
    local_scales_of,
    neighbours_among,
)
from spectro.clustering.clusters import cluster
from spectro.clustering.config import AssignConfig, ClusterConfig
from spectro.clustering.graph.knn_graph import SIGMA_FLOOR, local_scales
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.matching import Clustering, best_matches

K = 6


def by_hand(x_new, x_old, sigma, members, min_share):
    """Every sum as the docstring has it; assigned clusters and shares of the leading ones."""
    clusters, shares = [], []
    for x in x_new.astype(np.float64):
        distance = np.sqrt(((x_old - x) ** 2).sum(1))
        near = np.argsort(distance, kind="stable")[:K]
        weight = np.exp(-(distance[near] ** 2) / (distance[near[-1]] * sigma[near]))
        inside = [
            sum(w for w, y in zip(weight, near, strict=True) if y in rows) for rows in members
        ]
        none = sum(
            w for w, y in zip(weight, near, strict=True) if not any(y in rows for rows in members)
        )
        best = int(np.argmax(inside))
        share = inside[best] / weight.sum()
        clusters.append(best if inside[best] > none and share > min_share else NONE)
        shares.append(share)
    return clusters, shares


@pytest.mark.parametrize("min_share", [0.0, 0.7])
@pytest.mark.parametrize("overlapping", [False, True])
def test_as_written_out(min_share: float, overlapping: bool):
    rng = np.random.default_rng(0)
    x_old, x_new = (rng.normal(size=(n, 3)).astype(np.float32) for n in (60, 40))
    members = [np.arange(20), np.arange(15 if overlapping else 20, 40)]
    sigma = local_scales_of(x_old, K)
    found = assign(
        neighbours_among(x_new, x_old, K), sigma, Clustering.of(members, 60), min_share=min_share
    )
    clusters, shares = by_hand(
        x_new, x_old, sigma.sigma_N, [set(m.tolist()) for m in members], min_share
    )
    assert found.cluster_M.tolist() == clusters and len(set(clusters)) == 3
    np.testing.assert_allclose(found.share_M, shares, rtol=1e-5)


def test_widths_are_those_of_the_graph():
    """σ of old tokens is the distance to the k-th nearest other one."""
    x = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    distance = np.sqrt(((x[:, None].astype(np.float64) - x[None]) ** 2).sum(-1))
    np.testing.assert_allclose(local_scales_of(x, K).sigma_N, np.sort(distance, 1)[:, K], rtol=1e-6)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(2)
    x_old, x_new = (rng.normal(size=(n, 5)).astype(np.float32) for n in (80, 33))
    whole, sigma = neighbours_among(x_new, x_old, K), local_scales_of(x_old, K)
    for rows in (1, 7):
        monkeypatch.setattr("spectro.clustering.assign.BLOCK_ROWS", rows)
        parts = neighbours_among(x_new, x_old, K)
        np.testing.assert_array_equal(parts.index_Nk, whole.index_Nk)
        np.testing.assert_array_equal(parts.distance_Nk, whole.distance_Nk)
        np.testing.assert_array_equal(local_scales_of(x_old, K).sigma_N, sigma.sigma_N)


def test_held_out_tokens_go_to_their_planted_clusters():
    """Tokens that the clustering never saw: few are given to a wrong cluster.

    The planted clusters lie well apart here (spread 0.3): what is lost lies at their edges.
    """
    chi, truth = mixture(sizes=[60, 80, 120, 150], num_body=900, num_columns=12)
    held_out = np.random.default_rng(0).random(truth.size) < 0.1
    found = cluster(chi[~held_out], ClusterConfig(num_neighbours=20))
    assert len(found) >= 4
    x_old, x_new = (found.transform.apply(chi[which]) for which in (~held_out, held_out))
    planted = Clustering.of([np.flatnonzero(truth[~held_out] == c) for c in range(4)], len(x_old))
    clusters = Clustering.of(found.members, len(x_old))
    planted_C = best_matches(clusters, planted).match_C
    result = assign(neighbours_among(x_new, x_old, 20), local_scales_of(x_old, 20), clusters)
    given = np.where(result.cluster_M >= 0, planted_C[result.cluster_M], NONE)
    inside = truth[held_out] >= 0
    assert (given[inside] == truth[held_out][inside]).mean() > 0.9
    assert (given[~inside] == NONE).mean() > 0.9


def test_far_and_coinciding_tokens():
    """A token so far away that every weight underflows, and one on top of a pile of doubles."""
    rng = np.random.default_rng(3)
    x_old = np.concatenate([np.zeros((20, 2)), rng.normal(5, 1, (30, 2))]).astype(np.float32)
    clusters = Clustering.of([np.arange(20)], 50)
    x_new = np.array([[0.0, 0.0], [1e6, 1e6]], np.float32)
    found = assign(neighbours_among(x_new, x_old, K), local_scales_of(x_old, K), clusters)
    assert found.cluster_M.tolist() == [0, NONE]
    np.testing.assert_array_equal(found.share_M, [1.0, 0.0])


def test_no_clusters_and_no_tokens():
    x = np.random.default_rng(4).normal(size=(20, 2)).astype(np.float32)
    found = assign(neighbours_among(x[:5], x, K), local_scales_of(x, K), Clustering.of([], 20))
    assert found.cluster_M.tolist() == [NONE] * 5 and not found.share_M.any()
    nothing = Neighbours(
        index_Nk=np.empty((0, K), np.int32), distance_Nk=np.empty((0, K), np.float32)
    )
    assert assign(nothing, local_scales_of(x, K), Clustering.of([], 20)).cluster_M.size == 0


def test_what_cannot_be_assigned_is_refused():
    x = np.random.default_rng(5).normal(size=(20, 2)).astype(np.float32)
    around, sigma = neighbours_among(x, x, K), local_scales_of(x, K)
    with pytest.raises(ValueError, match="same tokens"):
        assign(around, sigma._replace(sigma_N=sigma.sigma_N[:10]), Clustering.of([], 20))
    with pytest.raises(ValueError, match="more than 20 tokens"):
        local_scales_of(x, 20)
    with pytest.raises(ValueError, match="coincide"):
        local_scales(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="min_share"):
        AssignConfig(min_share=1.0)
    with pytest.raises(ValueError, match="num_neighbours"):
        AssignConfig(num_neighbours=0)


def test_least_width_is_that_of_the_graph_also_where_most_tokens_coincide():
    """The floor is a share of the median of the widths above zero, not of those that it raised."""
    rng = np.random.default_rng(6)
    piles = np.repeat(rng.normal(size=(4, 3)), 20, axis=0)
    x = np.concatenate([piles, rng.normal(size=(30, 3))]).astype(np.float32)
    distance = np.sort(np.sqrt(((x[:, None].astype(np.float64) - x[None]) ** 2).sum(-1)), 1)[:, K]
    found = local_scales_of(x, K)
    assert found.floor == pytest.approx(SIGMA_FLOOR * np.median(distance[distance > 0]), rel=1e-6)
    assert found.sigma_N.min() == found.floor
