"""The figure of the map has the map's own positions and regions, whether or not it is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spectro.formats.derived_objects import put_derived
from spectro.formats.product import SUMMARY_NAME
from spectro.formats.tokens import read_info
from spectro.storage.store import DamagedObjectError, Store
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.figures.clusters import map_data
from spectro.views.map.columns import GRID
from spectro.views.map.config import MapConfig
from spectro.views.map.drawn import DrawnMap, drawn_map
from spectro.views.map.write import write_map
from spectro.views.run_view import RunView
from tests.report.read_map import read_map
from tests.run.made_runs import COMPONENTS, make_run, put_clusters, text

NO_WORDS = Vocabulary(pieces=None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A run of 600 tokens in four shards, with clusters."""
    made = make_run(tmp_path / "run", text(30, 1))
    assert len(put_clusters(made)) >= 4
    told = {"components": COMPONENTS, "reliability": [0.5] * len(COMPONENTS)}
    put_derived(made, SUMMARY_NAME, told, read_info(made).probe_sha256)
    return made


def same(one: DrawnMap, other: DrawnMap) -> bool:
    return list(one.regions) == list(other.regions) and all(
        np.array_equal(getattr(one, kind)[name], getattr(other, kind)[name])
        for kind in ("tokens", "clusters")
        for name in getattr(one, kind)
    )


def test_it_is_the_map_that_is_there_or_would_be(store: Store) -> None:
    view = RunView(store.uri)
    made = drawn_map(view, 0, NO_WORDS)
    assert not store.list("map"), "a picture writes nothing into its run"
    write_map(view, MapConfig(rows_per_file=150))
    found = drawn_map(view, 0, NO_WORDS)
    assert same(made, found)
    folder = read_map(f"{store.root}/map")
    assert np.array_equal(found.tokens["x"], folder.tokens["x"])
    assert np.array_equal(found.clusters["top_tokens"], folder.clusters["top_tokens"])
    assert list(found.regions) == folder.regions
    assert not same(drawn_map(view, 1, NO_WORDS), found), "of another seed there is none to be read"
    write_map(view, MapConfig(max_tokens=100))
    assert len(drawn_map(view, 0, NO_WORDS).tokens["x"]) == 100


def test_a_map_of_other_clusters_is_not_taken(store: Store) -> None:
    view = RunView(store.uri)
    write_map(view, MapConfig(max_tokens=100))
    store.delete_many([name for name in store.list() if name.startswith("clusters/")])
    put_clusters(store)  # the same clusters again are the same map …
    assert len(drawn_map(RunView(store.uri), 0, NO_WORDS).tokens["x"]) == 100
    put_clusters(store, "clusters-k30")  # … those of another name have none yet
    assert len(drawn_map(RunView(f"{store.uri}/clusters-k30"), 0, NO_WORDS).tokens["x"]) == 600


def test_a_damaged_map_is_said(store: Store) -> None:
    view = RunView(store.uri)
    write_map(view, MapConfig(max_tokens=100))
    path = Path(store.path("map/tokens/x-0000.bin"))
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(DamagedObjectError, match=r"tokens/x-0000\.bin is damaged"):
        drawn_map(view, 0, NO_WORDS)


def test_what_the_figure_is_given(store: Store) -> None:
    view = RunView(store.uri)
    drawn, data = drawn_map(view, 0, NO_WORDS), map_data(view, 80, 0, NO_WORDS)
    assert len(data.xy_n2) == 80 and data.num_tokens == 600
    assert (data.cluster_n >= 0).sum() == min(60, (drawn.tokens["cluster"] >= 0).sum())
    places = {tuple(xy) for xy in np.stack([drawn.tokens["x"], drawn.tokens["y"]], 1).tolist()}
    assert {tuple(xy) for xy in np.rint(data.xy_n2 * GRID).astype(int).tolist()} <= places
    np.testing.assert_allclose(data.centre_K2[:, 0] * GRID, drawn.clusters["x"])
    stored = view.clusters.clusters
    assert data.size_K.tolist() == stored["size"].to_pylist()
    tops = [f"\ue000#{token}\ue001" for token in stored["top_tokens"].to_pylist()[0][:3]]
    assert data.names_K[0] == " ".join(tops), "without words there are no names"
    assert len(data.regions) == len(drawn.regions)
    for region, told in zip(data.regions, drawn.regions, strict=True):
        assert region.outline_P2.min() >= 0 and region.outline_P2.max() <= 1
        assert len(region.outline_P2) == len(told["outline"]) and region.name == ""
