"""Regions on planted positions: who belongs together, their lines."""

import numpy as np
import pytest

from spectro.views.map.config import MapConfig
from spectro.views.map.outline import MAX_CORNERS, outline
from spectro.views.map.regions import Laid, find_regions, group

PLACES = np.array([[0.2, 0.2], [0.8, 0.25], [0.5, 0.8]])


def planted(per_place=6, seed=0):
    """Three groups of clusters, and around each cluster fifty tokens of its own."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(PLACES)), per_place)
    centre = PLACES[truth] + 0.04 * rng.normal(size=(len(truth), 2))
    cluster = np.repeat(np.arange(len(truth)), 50)
    laid = Laid(
        centre_K2=centre,
        size_K=np.arange(100, 100 + len(truth)),
        cluster_M=cluster,
        xy_M2=centre[cluster] + 0.01 * rng.normal(size=(len(cluster), 2)),
    )
    return laid, truth


def inside(corners, points):
    """Whether points lie in a polygon: an odd number of its sides to their right."""
    x0, y0 = np.asarray(corners, float).T
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    px, py = (np.asarray(points, float)[:, i, None] for i in range(2))
    crosses = (y0 > py) != (y1 > py)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = x0 + (py - y0) * (x1 - x0) / (y1 - y0)
    return (crosses & (px < at)).sum(axis=1) % 2 == 1


def test_planted_groups_are_found_and_outlined():
    laid, truth = planted()
    region, regions = find_regions(laid, MapConfig(num_regions=3))
    of_group = [set(region[truth == g].tolist()) for g in range(3)]
    assert of_group == [{2}, {1}, {0}], "largest first: sizes grow with the group"
    grid = laid.centre_K2 * 65535
    for number, found in enumerate(regions):
        own = region == number
        assert found.id == number and found.clusters == own.sum() == 6
        assert found.tokens == laid.size_K[own].sum()
        held = inside(found.outline, grid)
        assert held[own].mean() >= 0.8 and not held[~own].any()
        assert inside(found.outline, [found.at]).all()
        assert 3 <= len(found.outline) <= MAX_CORNERS
        assert found.to_dict()["at"] == list(found.at)


def test_about_the_square_root_of_the_clusters():
    rng = np.random.default_rng(0)
    region = group(rng.random((400, 2)), np.ones(400, int), MapConfig())
    assert 15 <= region.max() + 1 <= 20
    assert np.array_equal(region, group(np.random.default_rng(0).random((400, 2)),
                                        np.ones(400, int), MapConfig()))  # fmt: skip


@pytest.mark.parametrize("num", [0, 1, 7])
def test_few_clusters_have_no_regions(num):
    laid, _ = planted()
    few = laid.cluster_M < num
    less = Laid(
        centre_K2=laid.centre_K2[:num],
        size_K=laid.size_K[:num],
        cluster_M=laid.cluster_M[few],
        xy_M2=laid.xy_M2[few],
    )
    region, regions = find_regions(less, MapConfig())
    assert region.tolist() == [-1] * num and regions == []


def test_a_cluster_that_stands_alone_is_in_no_region():
    laid, _ = planted()
    centre = np.concatenate([laid.centre_K2 * 0.1, [[0.95, 0.95]]])
    region = group(centre, np.append(laid.size_K, 10_000), MapConfig(num_regions=4))
    assert region[-1] == -1 and set(region[:-1].tolist()) == {0, 1, 2}


def test_clusters_in_one_place():
    region = group(np.full((9, 2), 0.5), np.ones(9, int), MapConfig())
    assert region.shape == (9,) and region.min() >= -1


@pytest.mark.parametrize(
    "points",
    [
        np.full((1, 2), 0.3),
        np.full((500, 2), 0.7),
        np.stack([np.linspace(0, 1, 40), np.full(40, 0.5)], axis=1),
        np.array([[0.1, 0.1], [0.9, 0.9]]),
    ],
    ids=["one point", "a pile", "a line", "two far apart"],
)
def test_a_line_around_degenerate_points(points):
    corners, at = outline(points)
    assert 3 <= len(corners) <= MAX_CORNERS and np.isfinite(corners).all()
    assert inside(corners, points).mean() >= 0.5
    assert inside(corners, at[None]).all()


def test_the_line_follows_a_bay():
    angle = np.random.default_rng(0).uniform(0, 1.5 * np.pi, 4000)
    ring = 0.5 + 0.4 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    corners, _ = outline(ring)
    assert inside(corners, ring).mean() > 0.85
    assert not inside(corners, [[0.5, 0.5], [0.75, 0.25]]).any(), "no token is there"
