"""Layout and contexts: which tokens are drawn, where, and which contexts are shown."""

import made_up_run
import numpy as np
import pytest

from spectro.tokens.display.context_text import Context
from spectro.views.cluster_examples import examples, random_members
from spectro.views.map.embedding import choose_points, cluster_positions, layout, unit_square
from spectro.views.page.config import ReportConfig


def outside_of(members, num_tokens):
    return np.setdiff1d(np.arange(num_tokens), members)


def test_clustered_tokens_are_drawn_first():
    members = np.repeat(np.arange(0, 1000, 10), 2)  # a token may be in two clusters
    rows = choose_points(members, 1000, 200, 0)
    assert len(rows) == 200 and np.all(np.diff(rows) > 0)
    assert np.isin(rows, members).sum() == 100


def test_background_keeps_a_quarter_where_clusters_are_many():
    rows = choose_points(np.arange(300, 1000), 1000, 200, 0)
    assert (rows >= 300).sum() == 150 and len(np.unique(rows)) == 200


@pytest.mark.parametrize("members", [np.arange(0), np.arange(50), np.arange(3, 40, 7)])
def test_all_points_are_drawn_where_there_is_room(members):
    assert np.array_equal(choose_points(members, 50, 20_000, 0), np.arange(50))


def test_every_token_outside_has_the_same_chance():
    members = np.array([0, 1, 5, 11])
    others = outside_of(members, 12)
    drawn = [np.setdiff1d(choose_points(members, 12, 5, seed), members) for seed in range(400)]
    counts = np.bincount(np.concatenate(drawn), minlength=12)
    expected = counts[others].sum() / len(others)
    assert counts[members].sum() == 0
    assert np.all(np.abs(counts[others] - expected) < 5 * np.sqrt(expected))


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
    ids = made_up_run.made(num_sequences=4, context=16, num_clusters=0).probe.ids_ST1.tolist()
    first, middle, last = (
        Context.of(ids[n // 16], n % 16, token_id=n, subset=0, before=5, after=3)
        for n in (16, 16 + 9, 2 * 16 + 15)
    )
    assert first.before == (ids[1][0],) and first.y == ids[1][1] and not first.clipped
    assert middle.before == tuple(ids[1][5:10]) and middle.y == ids[1][10] and middle.clipped
    assert middle.after == tuple(ids[1][11:14])
    assert last.y == ids[2][16] and last.after == () and last.position == 15


def test_examples_are_members_keyed_by_the_cluster():
    member = np.arange(100, 400)
    cluster = np.repeat([0, 1, 2], [150, 140, 10])
    shown = examples(member, cluster, range(3), num_random=10, num_central=5, seed=0)
    again = examples(member, cluster, [2, 1], num_random=10, num_central=5, seed=0)
    other = examples(member, cluster, range(3), num_random=10, num_central=5, seed=1)
    for key, own in enumerate(shown):
        members = member[cluster == key]
        assert len(own.random) == 10 == len(set(own.random)) and set(own.random) <= set(members)
        assert np.array_equal(own.central, members[:5])
        assert not np.array_equal(own.random, other[key].random)
    assert np.array_equal(again[0].random, shown[2].random)
    assert np.array_equal(again[1].random, random_members(member[cluster == 1][::-1], 1, 10, 0))


def test_a_cluster_smaller_than_what_is_asked_shows_all():
    (own,) = examples(np.arange(3), np.zeros(3, int), [0], num_random=10, num_central=5, seed=0)
    assert set(own.random) == {0, 1, 2} and list(own.central) == [0, 1, 2]
