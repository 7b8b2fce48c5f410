"""Landmarks, and tokens between them: who is asked for, and where everything comes to stand."""

import numpy as np
import pytest

from spectro.views.map.config import MapConfig
from spectro.views.map.layout import Clustered, draw, drawn_members, place

NUM, WIDTH, PILES = 900, 6, 5
RNG = np.random.default_rng(0)
LABEL = np.repeat(np.arange(PILES), NUM // PILES)
X = (10 * RNG.normal(size=(PILES, WIDTH))[LABEL] + RNG.normal(size=(NUM, WIDTH))).astype(np.float32)


class Shards:
    """Vectors of rows as a run gives them, and what was asked for."""

    def __init__(self, x=X, size=128):
        self.x, self.size, self.asked = x, size, []

    def __call__(self, rows):
        assert np.all(np.diff(rows) > 0)
        self.asked.append(rows)
        for first in range(0, len(self.x), self.size):
            low, high = np.searchsorted(rows, [first, first + self.size])
            if low < high:
                yield slice(low, high), self.x[rows[low:high]]


def clustered(x=X, label=LABEL, num=PILES):
    row = np.flatnonzero(label >= 0)
    row = row[np.argsort(label[row], kind="stable")]
    centroid = [x[label == index].mean(axis=0) for index in range(num)]
    return Clustered(
        centroid_KD=np.array(centroid, np.float32).reshape(num, x.shape[1]),
        row_M=row,
        cluster_M=label[row].astype(np.int32),
    )


def home(places, order):
    """Share of the tokens whose nearest cluster on the map is their own."""
    far = np.linalg.norm(places.xy_n2[:, None] - places.centre_K2[None], axis=2)
    return np.mean(far.argmin(axis=1) == LABEL[order])


def test_a_draw_is_a_sample_and_its_beginning_is_one_too():
    whole, some = draw(NUM, MapConfig(max_tokens=None)), draw(NUM, MapConfig(max_tokens=200))
    assert np.array_equal(np.sort(whole), np.arange(NUM))
    assert np.array_equal(some, whole[:200])
    assert not np.array_equal(whole, draw(NUM, MapConfig(max_tokens=None, seed=1)))
    counts = np.bincount(LABEL[some], minlength=PILES)
    assert counts.min() > 20  # 40 expected, standard deviation 5


def test_all_tokens_are_landmarks_where_there_is_room():
    shards, order = Shards(), draw(NUM, MapConfig())
    places = place(order, shards, clustered(), MapConfig())
    assert [len(rows) for rows in shards.asked] == [NUM, 0]
    assert places.layout["landmarks"] == NUM + PILES and places.layout["between_landmarks"] == 0
    assert home(places, order) == 1.0


def test_the_others_stand_among_their_own():
    config = MapConfig(landmarks=150 + PILES)
    shards, order = Shards(), draw(NUM, config)
    places = place(order, shards, clustered(), config)
    asked = np.concatenate(shards.asked)
    assert np.array_equal(np.sort(asked), np.arange(NUM)), "every row once"
    assert np.array_equal(np.sort(order[:150]), shards.asked[0])
    assert home(places, order) == 1.0
    assert places.xy_n2.min() >= 0 and places.xy_n2.max() <= 1


def test_how_rows_are_cut_into_shards_changes_nothing():
    config = MapConfig(landmarks=100)
    order = draw(NUM, config)
    first = place(order, Shards(size=128), clustered(), config)
    second = place(order, Shards(size=NUM), clustered(), config)
    assert np.array_equal(first.xy_n2, second.xy_n2)
    assert np.array_equal(first.centre_K2, second.centre_K2)


def test_of_many_clusters_the_centroids_alone_are_landmarks():
    label = np.arange(NUM) // 10  # 90 clusters of ten tokens, within the piles
    config = MapConfig(many_clusters=90)
    shards, order = Shards(), draw(NUM, config)
    places = place(order, shards, clustered(label=label, num=90), config)
    assert places.layout["landmarks"] == 90
    assert [len(rows) for rows in shards.asked] == [0, NUM]
    pile = LABEL.reshape(90, 10)[:, 0]
    far = np.linalg.norm(places.xy_n2[:, None] - places.centre_K2[None], axis=2)
    assert np.mean(pile[far.argmin(axis=1)] == LABEL[order]) > 0.99


def test_of_too_many_clusters_a_sample_are_landmarks():
    label = np.arange(NUM) // 3  # 300 clusters of three tokens, within the piles
    config, shards = MapConfig(landmarks=60, many_clusters=90), Shards()
    order, clusters = draw(NUM, config), clustered(label=label, num=300)
    places = place(order, shards, clusters, config)
    assert [places.layout[name] for name in
            ("landmarks", "centroids", "centroids_between_landmarks", "between_landmarks")] == [
                60, 60, 240, NUM]  # fmt: skip
    pile = LABEL.reshape(300, 3)[:, 0]
    far = np.linalg.norm(places.centre_K2[:, None] - places.centre_K2[None], axis=2)
    np.fill_diagonal(far, np.inf)
    assert np.mean(pile[far.argmin(axis=1)] == pile) > 0.99
    assert far.min() > 0, "none hides another"
    assert places.centre_K2.min() >= 0 and places.centre_K2.max() <= 1
    again = place(order, Shards(size=NUM), clusters, config)
    assert np.array_equal(places.centre_K2, again.centre_K2)


def test_a_token_at_a_landmark_stands_beside_it_and_equal_tokens_do_not_hide():
    x = np.repeat(X[::10], 10, axis=0)  # ten equal tokens each
    config = MapConfig(landmarks=45 + PILES)
    order = draw(NUM, config)
    places = place(order, Shards(x), clustered(x), config)
    others = places.xy_n2[45:]
    assert len(np.unique(others, axis=0)) == len(others)
    landmarks = np.concatenate([places.xy_n2[:45]])
    x_others, x_landmarks = x[order[45:]], x[order[:45]]
    same = (x_others[:, None] == x_landmarks[None]).all(axis=2)
    twin = same.any(axis=1)
    assert twin.sum() > 100
    near = np.linalg.norm(others[:, None] - landmarks[None], axis=2)
    gaps = np.linalg.norm(landmarks[:, None] - landmarks[None], axis=2)
    gaps[np.arange(45), np.arange(45)] = np.inf
    at = same.argmax(axis=1)[twin]
    # A landmark may have equal ones elsewhere; the least distance to one of them counts.
    least = np.where(same[twin], near[twin], np.inf).min(axis=1)
    assert np.median(least / gaps[at].min(axis=1)) < 0.6


def test_clusters_of_few_drawn_tokens_stand_at_their_centroid():
    config = MapConfig(max_tokens=12, landmarks=40)
    order = draw(NUM, config)
    places = place(order, Shards(), clustered(), config)
    drawn, cluster = drawn_members(order, clustered())
    assert np.array_equal(np.sort(order[drawn]), np.sort(order))
    assert np.array_equal(LABEL[order[drawn]], cluster)
    few = np.bincount(cluster, minlength=PILES) < 5
    assert few.any() and np.isfinite(places.centre_K2).all()


@pytest.mark.parametrize(
    ("x", "label", "num"),
    [
        (X[:60], np.full(60, -1), 0),
        (X[:60], np.zeros(60, int), 1),
        (np.zeros((60, WIDTH), np.float32), np.repeat([0, 1], 30), 2),
        (X[:1], np.full(1, -1), 0),
        (X[:1], np.zeros(1, int), 1),
        (X[:9, :1], np.full(9, -1), 0),
    ],
    ids=["no cluster", "one cluster", "all equal", "one token", "one and one", "one dimension"],
)
@pytest.mark.parametrize("landmarks", [1, 5, 50, 1000])
def test_degenerate_runs_have_places(x, label, num, landmarks):
    config = MapConfig(landmarks=landmarks)
    order = draw(len(x), config)
    places = place(order, Shards(x), clustered(x, label, num), config)
    assert places.xy_n2.shape == (len(x), 2) and places.centre_K2.shape == (num, 2)
    for values in (places.xy_n2, places.centre_K2):
        assert np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()


def test_settings_that_make_no_map_are_refused():
    for name, value in (("landmarks", 0), ("num_neighbours", 1), ("seed", -1), ("max_tokens", 0)):
        with pytest.raises(ValueError, match=rf"map\.{name} must be at least"):
            MapConfig(**{name: value})
    with pytest.raises(ValueError, match=r"map\.device must be cpu or cuda"):
        MapConfig(device="tpu")
