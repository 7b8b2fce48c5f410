"""A run's folder as the stages write it, read for the page."""

import re

import made_up_run
import numpy as np
import pytest
from spectro.views.page.page import render
from spectro.views.page.read_inputs import SUMMARY_NAME, read_report_inputs

from spectro.clustering.clusters import Clusters
from spectro.clustering.config import ClusterConfig
from spectro.clustering.describe import TokenLabels, describe
from spectro.clustering.holds import HalvesEvidence
from spectro.clustering.vectors.preprocess import fit_transform
from spectro.formats import product, run_dir
from spectro.formats.clusters.clusters import write_clusters
from spectro.formats.tokens import write_tokens
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import Store
from spectro.tokens.display.context_text import Vocabulary
from spectro.tokens.sequences import Sequences, TokenSplits
from spectro.views.page.config import ReportConfig
from spectro.views.run_view import RunView

CONFIG = {
    "model": {"name_or_path": "embedded", "revision": None},
    "tokens": {"subsets": {name: {} for name in made_up_run.SUBSETS}},
    "sampler": {"kind": "exponential", "gamma": 300.0, "nbeta": 30.0, "step_size": 0.001},
    "chain": {"num_chains": 4, "num_draws": 20},
    "estimator": {"kind": "two_chain"},
    "seed": 7,
}
FEW = ReportConfig(max_points=30)  # so few are placed without UMAP
PER_SHARD = 5


def write_run(folder, what, config=None):
    """The folder of a run in which a made-up run was measured."""
    store = Store(str(folder))
    probe = what.probe
    sequences = Sequences(
        ids_ST1=probe.ids_ST1, subset_S=probe.subset_S, subset_names=probe.subset_names
    )
    splits = TokenSplits(sampling=sequences, evaluation=sequences, probe=sequences)
    run_dir.start(store, CONFIG, {"seed": 7})
    write_tokens(store, splits, vocab_size=len(what.pieces), sequences_per_shard=PER_SHARD)
    for part, (columns, label) in zip(("", "control"), what.sides(), strict=False):
        own = store.child(part)
        if part:
            run_dir.start(own, CONFIG, {"seed": 7})
        write_measurement(own, what, columns)
        write_found(own, what, columns, label, config=config or ClusterConfig())
    return store


def write_measurement(store, what, columns):
    probe, names = what.probe, columns.components
    context = probe.ids_ST1.shape[1] - 1
    for shard, start in enumerate(range(0, len(probe.ids_ST1), PER_SHARD)):
        part = slice(start, start + PER_SHARD)
        tokens = slice(start * context, (start + PER_SHARD) * context)
        rows = product.ShardRows(
            ids_nT1=probe.ids_ST1[part],
            sequence_id_n=probe.sequence_id_S[part],
            subset_n=probe.subset_S[part],
            subset_names=probe.subset_names,
            values={
                "loss": what.loss_N[tokens],
                "full_response": what.loss_N[tokens],
                "chi": what.chi_NH[tokens],
            },
        )
        product.put_part(store, shard, product.shard_table(rows, names, "abc", {}), {})
    summary = {
        "components": list(names),
        "reliability": [None, *columns.reliability_H[1:].tolist()],
        "standard_error": columns.standard_error_H.tolist(),
        "mean_phi": columns.mean_phi_H.tolist(),
    }
    store.put(SUMMARY_NAME, seal(summary))


def write_found(store, what, columns, label, folder="clusters", config=None, mean_phi_H=None):
    context = what.probe.ids_ST1.shape[1] - 1
    labels = TokenLabels(
        token_id_N=np.arange(len(label)),
        token_N=what.probe.ids_ST1[:, 1:].reshape(-1),
        subset_N=np.repeat(what.probe.subset_S, context),
        subset_names=what.probe.subset_names,
    )
    found = planted(what, label, columns, config or ClusterConfig(), mean_phi_H)
    known = what.stability_K[: len(found)]
    stability = np.nan_to_num(known).astype(np.float32)
    halves = HalvesEvidence(
        stability_C=stability, shared_neighbours_C=stability / 2, q_value_C=stability / 4,
        shared_of_all=0.1, shared_by_chance=0.01,
    ) if np.isfinite(known).any() else None  # fmt: skip
    write_clusters(
        store.child(folder).uri, found, describe(found, labels), labels,
        components=columns.components, halves=halves,
    )  # fmt: skip


def planted(what, label, columns, config, mean_phi_H=None):
    """Clusters of the labels; with E[φ], of χ without E[φ]·B (the rows' B are their losses)."""
    rows = tuple(np.flatnonzero(label == k).astype(np.int32) for k in range(label.max() + 1))
    chi = what.chi_NH
    transform = fit_transform(
        chi, config, reliability_H=columns.reliability_H, names=columns.components,
        mean_phi_H=mean_phi_H, response_N=what.loss_N,
    )  # fmt: skip
    x = transform.apply(chi, what.loss_N)
    means = [x[r].mean(axis=0) for r in rows]
    chis = [transform.standardise(chi, what.loss_N)[r].mean(axis=0) for r in rows]
    return Clusters(
        config=config,
        transform=transform,
        num_tokens=len(chi),
        members=rows,
        scores=tuple(np.ones(len(r), np.float32) for r in rows),
        repeatability_C=np.full(len(rows), 0.75, np.float32),
        conductance_C=what.conductance_K[: len(rows)],
        seed_C=np.array([r[0] for r in rows], np.int32),
        centroid_CD=np.array(means, np.float32).reshape(-1, x.shape[1]),
        mean_chi_CH=np.array(chis, np.float32).reshape(-1, chi.shape[1]),
        statistics={},
    )


def read(store, what, config=FEW, folder="clusters"):
    view = RunView(f"{store.uri}/{folder}")
    return read_report_inputs(view, Vocabulary(pieces=what.pieces), config)


@pytest.fixture
def what():
    return made_up_run.made(num_sequences=16, context=16, num_clusters=4)


def test_what_was_written_is_read(tmp_path, what):
    found = read(write_run(tmp_path / "run", what), what)
    expected = made_up_run.inputs(what, FEW)
    for mine, theirs in ((found.real, expected.real), (found.control, expected.control)):
        assert np.isnan(mine.columns.reliability_H[0])
        assert mine.columns.components == theirs.columns.components
        for name in ("size_K", "subset_counts_KP", "top_counts_KT", "num_clustered"):
            assert np.array_equal(getattr(mine.clusters, name), getattr(theirs.clusters, name))
        assert np.allclose(mine.clusters.token_purity_K, theirs.clusters.token_purity_K)
        for own, other in zip(mine.clusters.examples_E, theirs.clusters.examples_E, strict=True):
            assert np.array_equal(own.random, other.random)
            assert np.array_equal(own.central, other.central)
    stability = np.nan_to_num(expected.real.clusters.stability_K)
    assert np.allclose(found.real.clusters.stability_K, stability)
    assert found.real.clusters.neighbours_KM[0, 0] >= 0
    assert np.array_equal(found.matches.match_C, expected.matches.match_C)
    assert np.allclose(found.matches.jaccard_C, expected.matches.jaccard_C)
    facts = dict(found.facts)
    assert facts["Sampler"].replace("\u00a0", " ") == "exponential, γ = 300, nβ = 30, ε = 0.001"
    assert facts["Tokens"] == "256 in 8 subsets" and facts["Seed"] == "7"
    assert "seed: 7" in found.provenance and found.title == "run"


def test_tokens_shown_and_drawn_are_those_of_the_run(tmp_path, what):
    found = read(write_run(tmp_path / "run", what), what)
    assert np.allclose(found.shown_loss_s, what.loss_N[found.shown_token_id_s])
    y = what.probe.ids_ST1[:, 1:].reshape(-1)
    points = found.points
    assert len(points.token_n) == 30 and (points.cluster_n >= 0).sum() >= 15
    drawn = set(zip(points.cluster_n, points.subset_n, points.token_n, strict=True))
    assert drawn <= set(zip(what.label_N, np.repeat(what.probe.subset_S, 16), y, strict=True))


def test_a_page_of_a_stored_run_is_the_same_twice(tmp_path, what):
    store = write_run(tmp_path / "run", what)
    pages = [render(read(store, what), FEW) for _ in range(2)]
    assert pages[0] == pages[1]


class CountingView(RunView):
    """Counts what of χ is held at once, and what is asked of labels."""

    most_rows = 0

    def chi(self, token_id_n):
        self.most_rows = max(self.most_rows, len(token_id_n))
        return super().chi(token_id_n)

    def shards(self):
        raise AssertionError("the page needs no token beyond its sample")

    def labels(self, columns=()):
        raise AssertionError("the page needs no label of all tokens")


def test_only_a_sample_is_read(tmp_path, what):
    store = write_run(tmp_path / "run", what)
    view = CountingView(f"{store.uri}/clusters")
    config = ReportConfig(max_points=20, max_cards=1, max_control_cards=0, contexts_per_cluster=2)
    found = read_report_inputs(view, Vocabulary(pieces=None), config)
    assert view.most_rows == 20
    assert len(found.shown_token_id_s) <= 2 + config.num_central
    assert len(found.probe.ids_ST1) <= 20 + 2 + config.num_central
    page = render(found, config)
    assert re.search(r'"\d+":"\\ue000#\d+\\ue001"', page), "ids where there is no tokenizer"


def test_another_clustering_has_a_page_of_its_own(tmp_path, what):
    store = write_run(tmp_path / "run", what)
    write_found(store, what, what.columns, what.control_label_N, folder="clusters-k30")
    found = read(store, what, folder="clusters-k30")
    assert found.title == "run / clusters-k30" and len(found.real.clusters) == 1
    assert found.control is None, "the control has no clusters of that name"


def test_a_threshold_of_the_clustering_is_told(tmp_path, what):
    below = what.columns.reliability_H < 0.7
    store = write_run(tmp_path / "run", what, config=ClusterConfig(min_reliability=0.7))
    columns = read(store, what).real.columns
    assert columns.threshold == 0.7
    assert columns.left_out == tuple(np.array(what.names)[below]) and below.any()


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
    found = read(write_run(tmp_path / "run", what), what)
    assert (found.control is None) == (not settings.get("control", True))
    assert len(found.real.clusters) == settings["num_clusters"]
    assert np.isnan(found.real.clusters.stability_K).all() == (name != "no control")
    render(found, FEW)


def test_a_summary_of_other_components_is_refused(tmp_path, what):
    store = write_run(tmp_path / "run", what)
    summary = read_sealed(store, SUMMARY_NAME)
    store.delete(SUMMARY_NAME)
    store.put(SUMMARY_NAME, seal(summary | {"components": ["l0h0"]}))
    with pytest.raises(ValueError, match="has 1 components, expected the 22 of the product"):
        read(store, what)


def test_members_of_another_run_are_refused(tmp_path, what):
    store = write_run(tmp_path / "run", what)
    larger = made_up_run.made(num_sequences=32, context=16, num_clusters=4)
    write_found(store, larger, larger.columns, larger.label_N, folder="clusters-other")
    with pytest.raises(ValueError, match="were the clusters found in another run"):
        read(store, what, folder="clusters-other")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not the folder of a run"):
        RunView(str(tmp_path))
