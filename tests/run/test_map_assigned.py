"""Tokens that `spectro assign` gave to clusters, on the map of their run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spectro.cluster_stage.assign import assign_tokens
from spectro.clustering.config import AssignConfig
from spectro.formats.derived_objects import put_derived
from spectro.formats.product import SUMMARY_NAME
from spectro.formats.tokens import read_info
from spectro.pipeline.stages import STAGES
from spectro.storage.store import Store
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.figures.clusters import map_data
from spectro.views.map.assigned import read_assigned_tokens
from spectro.views.map.config import MapConfig
from spectro.views.map.drawn import drawn_map
from spectro.views.map.write import write_map
from spectro.views.run_view import RunView
from tests.report.read_map import ReadMap, read_map
from tests.run.made_runs import COMPONENTS, add_tokens, make_run, put_clusters, text

FIRST_ADDED, NUM_TOKENS = 600, 780


def summed_up(store: Store) -> None:
    told = {"components": COMPONENTS, "reliability": [0.5] * len(COMPONENTS)}
    put_derived(store, SUMMARY_NAME, told, read_info(store).probe_sha256)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A run with clusters, and 180 tokens that were added after."""
    made = make_run(tmp_path / "run", text(30, 1))
    assert len(put_clusters(made)) >= 4
    add_tokens(made, text(9, 2))
    STAGES.remove_stale(made, made.list(), read_info(made).probe_sha256, keep_clusters=True)
    summed_up(made)
    return made


def made(store: Store) -> tuple[ReadMap, bool]:
    written = write_map(RunView(store.uri), MapConfig(landmarks=80, num_central=4))
    return read_map(written.store.root), written.was_there


def test_assigned_tokens_are_told_from_members(store: Store) -> None:
    before, _ = made(store)
    assert before.marker["assigned"] is None and "assigned" not in before.clusters
    found = assign_tokens(store.uri, None, AssignConfig())
    after, was_there = made(store)
    assert not was_there, "an assignment makes another map"
    assert made(store)[1]
    ids = after.tokens["token_id"].astype(int)
    later = ids >= FIRST_ADDED
    own = found.cluster_M[ids[later] - FIRST_ADDED]
    assert np.array_equal(after.tokens["cluster"][later], np.where(own >= 0, -2 - own, -1))
    assert (own >= 0).sum() > 20
    for name in ("x", "y", "token_id"):  # nobody moves
        assert np.array_equal(after.tokens[name], before.tokens[name])
    assert np.array_equal(after.tokens["cluster"][~later], before.tokens["cluster"][~later])
    counts = np.bincount(found.cluster_M[found.cluster_M >= 0], minlength=len(after.clusters["x"]))
    assert np.array_equal(after.clusters["assigned"], counts)
    assert after.marker["assigned"] == {
        "tokens": int(counts.sum()), "of": NUM_TOKENS - FIRST_ADDED,
        "config": {"num_neighbours": None, "min_share": 0.0},
    }  # fmt: skip
    for cluster, shown in enumerate(after.clusters["assigned_examples"].astype(int)):
        some = shown[shown >= 0]
        assert len(some) == min(4, counts[cluster]) == len(set(some))
        assert (found.cluster_M[some - FIRST_ADDED] == cluster).all()


def test_assigned_tokens_stand_by_their_cluster(store: Store) -> None:
    found = assign_tokens(store.uri, None, AssignConfig())
    after, _ = made(store)
    later = after.tokens["cluster"] < -1
    own = -2 - after.tokens["cluster"][later]
    pile = after.clusters["conductance"][own] < 0.01  # planted ones; others are of the body
    xy = np.stack([after.tokens["x"], after.tokens["y"]], 1)[later].astype(float)
    centre = np.stack([after.clusters["x"], after.clusters["y"]], 1).astype(float)
    nearest = np.linalg.norm(xy[:, None] - centre[None], axis=2).argmin(axis=1)
    assert pile.sum() > 10 and (nearest == own)[pile].mean() > 0.9
    assert later.sum() == (found.cluster_M >= 0).sum()


def test_which_assignment_is_taken(store: Store) -> None:
    view = RunView(store.uri)
    assert read_assigned_tokens(view) is None
    assign_tokens(store.uri, None, AssignConfig(min_share=0.9))
    strict = read_assigned_tokens(view)
    assert strict is not None and strict.config["min_share"] == 0.9
    plain = assign_tokens(store.uri, None, AssignConfig())
    taken = read_assigned_tokens(view)
    assert taken is not None and taken.config["min_share"] == 0.0
    assert np.array_equal(taken.cluster_M, plain.cluster_M)
    assert taken.token_id_M.tolist() == list(range(FIRST_ADDED, NUM_TOKENS))


def test_tokens_of_another_run_have_no_place(store: Store, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", text(9, 5))
    assign_tokens(store.uri, other.uri, AssignConfig())
    assert read_assigned_tokens(RunView(store.uri)) is None
    assert made(store)[0].marker["assigned"] is None


def test_the_figure_takes_them_for_background(store: Store) -> None:
    assign_tokens(store.uri, None, AssignConfig())
    view = RunView(store.uri)
    assert (drawn_map(view, 0, Vocabulary(pieces=None)).tokens["cluster"] < -1).any()
    assert map_data(view, NUM_TOKENS, 0, Vocabulary(pieces=None)).cluster_n.min() == -1
