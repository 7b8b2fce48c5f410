"""A run's folder as the stages write it, read for the one-file viewer; what is left out of it."""

import dataclasses
import json

import made_map
import made_up_run
import numpy as np
import pytest
from stored_run import FEW, data_of, write_found, write_run

from spectro.clustering.config import ClusterConfig
from spectro.formats.product import SUMMARY_NAME
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.views.page.config import ReportConfig
from spectro.views.page.write import reduced, render
from spectro.views.run_view import RunView


@pytest.fixture
def what():
    return made_up_run.made(num_sequences=16, context=16, num_clusters=4)


def test_what_was_written_is_read(tmp_path, what):
    run, control = data_of(write_run(tmp_path / "run", what), what)
    for data, (columns, label) in zip((run, control), what.sides(), strict=True):
        known = data.report["columns"]
        assert known["components"] == list(columns.components) and known["reliability"][0] is None
        assert known["interval"] == "95 % interval, Student t, 4 chains"
        # half the interval of four chains is 3.18 standard errors, to three or four digits
        width = 3.18245 * columns.standard_error_H
        np.testing.assert_allclose(known["halfWidth"], width, rtol=1e-3)
        sizes = np.bincount(label[label >= 0])
        assert data.clusters.size.tolist() == sizes.tolist()
        summary = data.report["summary"]
        assert summary["clusters"] == len(sizes) and summary["clustered"] == sizes.sum()
        assert summary["size"] == np.median(sizes)
        for cluster, shown in enumerate(data.clusters.examples):
            assert len(shown) == 10 and set(label[shown.astype(int)]) == {cluster}
            losses = what.loss_N[shown.astype(int)]
            assert np.array_equal(data.clusters.examples_loss[cluster], losses)
    facts = dict(run.facts)
    assert facts["Sampler"].replace("\u00a0", " ") == "exponential, γ = 300, nβ = 30, ε = 0.001"
    assert facts["Tokens"] == "256 in 8 subsets" and facts["Seed"] == "7"
    assert "seed: 7" in run.provenance and run.title == "run"
    assert control.title == "run / control" and run.control["map"] == "control"


def test_the_control_s_best_match_by_the_members_of_both(tmp_path, what):
    run = data_of(write_run(tmp_path / "run", what), what)[0]
    (_, label), (_, of_control) = what.sides()
    for cluster in range(4):
        own = label == cluster
        jaccard = [
            np.sum(own & (of_control == other)) / np.sum(own | (of_control == other))
            for other in range(of_control.max() + 1)
        ]
        best = int(np.argmax(jaccard)) if max(jaccard) > 0 else -1
        assert run.clusters.control_match[cluster] == best
        expected = max(jaccard) if best >= 0 else 0
        assert run.clusters.control_jaccard[cluster] == pytest.approx(expected, abs=1e-6)


def test_the_same_run_gives_the_same_bytes(tmp_path, what):
    store = write_run(tmp_path / "run", what)
    assert render(*data_of(store, what)) == render(*data_of(store, what))


def test_another_clustering_has_a_page_of_its_own(tmp_path, what):
    store = write_run(tmp_path / "run", what)
    write_found(store, what, what.columns, what.control_label_N, folder="clusters-k30")
    (found,) = data_of(store, what, folder="clusters-k30")
    assert found.title == "run / clusters-k30" and len(found.clusters) == 1
    assert found.clusters.control_match is None, "the control has no clusters of that name"


def test_a_threshold_of_the_clustering_is_told(tmp_path, what):
    below = what.columns.reliability_H < 0.7
    store = write_run(tmp_path / "run", what, config=ClusterConfig(min_reliability=0.7))
    columns = data_of(store, what)[0].report["columns"]
    assert columns["threshold"] == 0.7
    assert columns["leftOut"] == np.array(what.names)[below].tolist() and below.any()


def test_labels_of_some_tokens_in_their_order(tmp_path, what):
    view = RunView(write_run(tmp_path / "run", what).uri)
    ids = np.array([255, 3, 80, 79, 3])
    table = view.labels_of(ids, ["token_id", "token", "subset"])
    assert table["token_id"].to_pylist() == ids.tolist()
    assert table["token"].to_pylist() == what.probe.ids_ST1[:, 1:].reshape(-1)[ids].tolist()
    names = [made_up_run.SUBSETS[what.probe.subset_S[i // 16]] for i in ids]
    assert table["subset"].to_pylist() == names
    assert view.labels_of(np.arange(0), ["loss"]).num_rows == 0
    with pytest.raises(ValueError, match="has no token 256: its ids are 0 to 255"):
        view.labels_of(np.array([256]))


DEGENERATE = {
    "no clusters, no control": {"num_clusters": 0, "control": False},
    "no clusters, a control": {"num_clusters": 0},
    "no control": {"control": False},
    "no stability": {"stable": False},
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_runs_are_read(tmp_path, name):
    settings = {"num_sequences": 8, "context": 8, "num_clusters": 3} | DEGENERATE[name]
    what = made_up_run.made(**settings)
    found = data_of(write_run(tmp_path / "run", what), what)
    assert (found[0].report["control"] is None) == (not settings.get("control", True))
    assert len(found[0].clusters) == settings["num_clusters"]
    assert np.isnan(found[0].clusters.stability).all() == (name != "no control")
    render(*found)


def test_a_summary_of_other_components_is_refused(tmp_path, what):
    store = write_run(tmp_path / "run", what)
    summary = read_sealed(store, SUMMARY_NAME)
    store.delete(SUMMARY_NAME)
    store.put(SUMMARY_NAME, seal(summary | {"components": ["l0h0"]}))
    with pytest.raises(ValueError, match="has 1 components, expected the 22 of the product"):
        data_of(store, what)


def test_members_of_another_run_are_refused(tmp_path, what):
    store = write_run(tmp_path / "run", what)
    larger = made_up_run.made(num_sequences=32, context=16, num_clusters=4)
    write_found(store, larger, larger.columns, larger.label_N, folder="clusters-other")
    with pytest.raises(ValueError, match="were the clusters found in another run"):
        data_of(store, what, folder="clusters-other")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not the folder of a run"):
        RunView(str(tmp_path))


def test_a_large_run_keeps_its_largest_clusters_and_their_contexts(monkeypatch):
    monkeypatch.setattr("spectro.views.page.write.ALL_SEQUENCES_BYTES", 1000)
    whole = made_map.made_map(6400, 12)
    data = reduced(whole, 8, 3)
    assert len(data.clusters) == len(data.profile_KH) == 8 and data.total_clusters == 12
    assert data.clusters.neighbours.max() < 8
    cluster, before = data.tokens.cluster, whole.tokens.cluster
    assert np.array_equal(cluster, np.where(before < 8, before, -1))
    assert (data.clusters.examples[3:] == -1).all() and (data.clusters.examples[:3, 0] >= 0).all()
    assert np.isnan(data.clusters.examples_loss[3:]).all()
    held_S = data.sequences.held_S.astype(int)
    shown = np.concatenate([data.clusters.examples[:3].ravel(), data.clusters.central[:3].ravel()])
    assert np.array_equal(held_S, np.unique(shown[shown >= 0].astype(int) // made_map.CONTEXT))
    (ids,), (kept,) = whole.sequences.blocks(), data.sequences.blocks()
    assert np.array_equal(kept, ids[held_S])
    assert np.array_equal(data.sequences.subset_S, whole.sequences.subset_S[held_S])


def test_a_run_that_fits_is_whole():
    whole = made_map.made_map(6400, 12)
    data = reduced(whole, 60_000, 3)
    assert data.sequences.held_S is None and data.clusters is whole.clusters


def test_a_page_of_published_size_can_be_mailed():
    small = made_map.made_map(6400, 12)
    num, rng = 57_236, np.random.default_rng(0)
    columns = {
        name: rng.permutation(np.resize(values, (num, *values.shape[1:])))
        for name, values in small.clusters.columns().items()
    }
    clusters = dataclasses.replace(small.clusters, **columns)
    profile_KH = np.resize(small.profile_KH, (num, 22))
    page = render(dataclasses.replace(small, clusters=clusters, profile_KH=profile_KH))
    assert len(page) < 25_000_000, "what mail servers take"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_cards": 0}, "report.max_cards must be at least 1, found 0"),
        ({"max_rows": 0}, "report.max_rows must be at least 1, found 0"),
        ({"num_neighbours": 1}, "report.num_neighbours must be at least 2, found 1"),
        ({"seed": -1}, "report.seed must be at least 0, found -1"),
    ],
)
def test_settings_that_make_no_page_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ReportConfig(**change)


def test_fewer_tokens_are_drawn_where_that_is_asked(tmp_path, what):
    data = data_of(write_run(tmp_path / "run", what), what, FEW)[0]
    assert len(data.tokens) == FEW.max_points == 30 and data.num_tokens == 256
    assert json.dumps(data.report)
