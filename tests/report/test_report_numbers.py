"""Layout and contexts: which tokens are drawn, where, and which contexts are shown."""

import made_up_run
import numpy as np
import pytest

from spectro.report import ReportConfig
from spectro.report.contexts import contexts, pick
from spectro.report.layout import choose_points, cluster_positions, layout, unit_square


def test_clustered_tokens_are_drawn_first():
    clustered = np.zeros(1000, bool)
    clustered[:100] = True
    rows = choose_points(clustered, ReportConfig(max_points=200))
    assert len(rows) == 200 and np.all(np.diff(rows) > 0)
    assert clustered[rows].sum() == 100


def test_background_keeps_a_quarter_where_clusters_are_many():
    clustered = np.ones(1000, bool)
    clustered[:300] = False
    rows = choose_points(clustered, ReportConfig(max_points=200))
    assert clustered[rows].sum() == 150 and len(rows) == 200


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_points_are_drawn_where_there_is_room(share):
    clustered = np.full(50, bool(share))
    assert np.array_equal(choose_points(clustered, ReportConfig()), np.arange(50))


def test_umap_keeps_planted_groups_together_and_gives_the_same_map_twice():
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(4), 40)
    points = rng.normal(size=(4, 6))[label] * 8 + rng.normal(size=(160, 6))
    xy = layout(points, ReportConfig())
    assert np.array_equal(xy, layout(points, ReportConfig()))
    assert xy.min() >= 0 and xy.max() <= 1
    centre = cluster_positions(xy, label, 4)
    nearest = np.linalg.norm(xy[:, None] - centre[None], axis=2).argmin(axis=1)
    assert np.mean(nearest == label) == 1.0


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((0, 3)),
        np.zeros((1, 3)),
        np.zeros((5, 1)),
        np.zeros((80, 4)),
        np.arange(60.0)[:, None],
    ],
    ids=["no token", "one token", "one component", "equal tokens", "a line"],
)
def test_degenerate_points_have_places(points):
    xy = layout(points, ReportConfig())
    assert xy.shape == (len(points), 2) and np.isfinite(xy).all()


def test_a_coordinate_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match="finite coordinates, found 1"):
        layout(np.array([[0.0, np.nan], [1.0, 2.0]]), ReportConfig())


def test_the_unit_square_keeps_the_aspect():
    xy = unit_square(np.array([[0.0, 0.0], [4.0, 1.0]]))
    assert np.allclose(xy, [[0.0, 0.375], [1.0, 0.625]])


def test_a_cluster_none_of_whose_tokens_is_drawn_has_no_place():
    assert np.isnan(cluster_positions(np.zeros((3, 2)), np.array([0, 0, -1]), 2)[1]).all()


def test_contexts_show_y_between_what_stands_before_and_after():
    run = made_up_run.run(num_sequences=4, context=16, num_clusters=0)
    config = ReportConfig(tokens_before=5, tokens_after=3)
    ids = run.probe.ids_ST1
    first, middle, last = contexts(run.probe, np.array([16, 16 + 9, 2 * 16 + 15]), config)
    assert first.before == (ids[1, 0],) and first.y == ids[1, 1] and not first.clipped
    assert middle.before == tuple(ids[1, 5:10]) and middle.y == ids[1, 10] and middle.clipped
    assert middle.after == tuple(ids[1, 11:14])
    assert last.y == ids[2, 16] and last.after == () and last.position == 15


def test_random_contexts_are_members_and_keyed_by_the_cluster():
    run = made_up_run.run(num_sequences=32, context=32, num_clusters=3)
    clusters, config = run.real.clusters, ReportConfig()
    for key in range(3):
        chosen = pick(clusters, key, config)
        members = clusters.member_token_id_M[clusters.member_cluster_id_M == key]
        assert len(chosen) == 10 == len(set(chosen)) and set(chosen) <= set(members)
        assert np.array_equal(chosen, pick(clusters, key, config))
        assert not np.array_equal(chosen, pick(clusters, key, ReportConfig(seed=1)))


def test_a_token_of_no_probe_sequence_is_an_error():
    run = made_up_run.run(num_sequences=2, context=8, num_clusters=0)
    with pytest.raises(ValueError, match="token_id 16 is in none of the 2 probe sequences"):
        run.probe.locate(np.array([3, 16]))
