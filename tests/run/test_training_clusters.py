"""Planted runs over training: births, mergers and splits are found, and means of sets followed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spectro.analysis.cluster_flow import Fate, Origin
from spectro.analysis.scaling import Scaling
from spectro.formats.product import read_product
from spectro.storage.store import Store
from spectro.views.config import MatrixRows
from spectro.views.matrix import matrix
from spectro.views.run_view import RunView
from spectro.views.training import sets_over_training
from spectro.views.training_clusters import clusters_over_training
from tests.run.made_runs import COMPONENTS, CONFIG, make_run, put_clusters, text

Job = Callable[..., int]
NUM_SEQUENCES = 40


def piles(*groups: range) -> tuple[int, ...]:
    return tuple(
        next((index for index, group in enumerate(groups) if y in group), -1) for y in range(50)
    )


STAGES = {
    "step1000": piles(range(5), range(5, 10), range(10, 15)),
    "step2000": piles(range(10), range(10, 15), range(20, 25)),  # two merged, one is born
    "step4000": piles(range(5), range(20, 25), range(5, 10)),  # one split, one gone
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Store]:
    """One run for each checkpoint, of the same text, given out of order."""
    root, made = tmp_path_factory.mktemp("over-training"), []
    for seed, (name, own) in enumerate(reversed(STAGES.items())):
        store = make_run(
            root / name, text(NUM_SEQUENCES, 1), noise_seed=seed, piles=own,
            model=str(root / "models" / name),
        )  # fmt: skip
        put_clusters(store)
        made.append(store)
    return made


def pile_of(store: Store) -> list[set[int]]:
    """The y of each cluster's members."""
    y_N = read_product(store).column("token")
    members = RunView(store.uri).clusters.members.to_pydict()
    sets: dict[int, set[int]] = {}
    for token_id, cluster in zip(members["token_id"], members["cluster_id"], strict=True):
        sets.setdefault(cluster, set()).add(int(y_N[token_id]))
    return [sets[cluster] for cluster in sorted(sets)]


def planted(sets: list[set[int]], wanted: set[int]) -> int:
    """The cluster of a pile: all of its y, and at most one stray token's."""
    (found,) = [c for c, own in enumerate(sets) if wanted <= own and len(own - wanted) <= 1]
    return found


def test_planted_births_mergers_and_splits_are_found(runs: list[Store]) -> None:
    found = clusters_over_training([store.uri for store in runs])
    assert [own.step for own in found.checkpoints] == [1000, 2000, 4000]
    assert [own.name for own in found.checkpoints] == [store.uri for store in reversed(runs)]
    first, second = (own.flow for own in found.flows)
    earlier, middle, later = map(pile_of, reversed(runs))
    low, high = set(range(5)), set(range(5, 10))
    of = {
        name: planted(sets, wanted)
        for name, sets, wanted in (
            ("a", earlier, low), ("b", earlier, high), ("c", earlier, set(range(10, 15))),
            ("ab", middle, low | high), ("c2", middle, set(range(10, 15))),
            ("new", middle, set(range(20, 25))), ("a3", later, low), ("b3", later, high),
            ("new3", later, set(range(20, 25))),
        )
    }  # fmt: skip
    assert first.fate_A[of["c"]] is Fate.KEPT and second.fate_A[of["c2"]] is Fate.GONE
    assert first.origin_B[of["new"]] is Origin.BORN and second.fate_A[of["new"]] is Fate.KEPT
    both = {first.fate_A[of["a"]], first.fate_A[of["b"]]}
    assert both <= {Fate.MERGED, Fate.KEPT} and Fate.MERGED in both
    assert {second.origin_B[of["a3"]], second.origin_B[of["b3"]]} <= {Origin.SPLIT, Origin.KEPT}
    assert Origin.SPLIT in {second.origin_B[of["a3"]], second.origin_B[of["b3"]]}
    born = next(own for own in found.lineages if own.start == 1 and own.clusters[0] == of["new"])
    assert born.clusters == (of["new"], of["new3"]) and born.fate is None


def test_by_chance_and_by_the_same_y(runs: list[Store]) -> None:
    """Random sets are gone, but for few small ones within large ones; whole y's are kept where
    tokens of a y swap."""
    found = clusters_over_training([store.uri for store in runs], seed=3)
    for own in found.flows:
        assert own.chance.fates[Fate.KEPT] == own.chance.fates[Fate.MERGED] == 0.0
        assert own.chance.fates[Fate.GONE] > 0.95 and own.chance.origins[Origin.BORN] > 0.95
        kept = own.flow.num_by_fate[Fate.KEPT] / len(own.flow.fate_A)
        assert own.chance_same_y.fates[Fate.KEPT] == pytest.approx(kept)
        assert own.chance_same_y.fates[Fate.GONE] < 1.0 and own.other_draws is None


def test_other_draws_of_the_checkpoint_whose_halves_are_less_alike(tmp_path: Path) -> None:
    """Equal halves at the first, a half without clusters of the other at the second."""
    stores = []
    for name in ("step1", "step2"):
        store = make_run(
            tmp_path / name, text(NUM_SEQUENCES, 1), model=str(tmp_path / "models" / name)
        )
        put_clusters(store)
        stores.append(store)
    uris = [store.uri for store in stores]
    halves = [f"clusters/half-{half}" for half in (0, 1)]
    for half in halves:
        put_clusters(stores[0], half)
    assert clusters_over_training(uris).flows[0].other_draws is None
    put_clusters(stores[1], halves[0])
    put_clusters(stores[1], halves[1], config=dataclasses.replace(CONFIG, min_size=200))
    for own in (uris, list(reversed(uris))):
        (flow,) = clusters_over_training(own).flows
        assert flow.other_draws is not None
        assert flow.other_draws.fates[Fate.GONE] > 0.4 and flow.measured.fates[Fate.KEPT] == 1.0


def test_clusters_made_otherwise_are_refused(runs: list[Store]) -> None:
    put_clusters(runs[1], "clusters-k9", config=dataclasses.replace(CONFIG, num_neighbours=9))
    put_clusters(runs[1], "clusters/half-0")
    for folder, what in (("clusters-k9", "num_neighbours"), ("clusters/half-0", "half")):
        with pytest.raises(ValueError, match=what) as error:
            clusters_over_training([runs[0].uri, runs[1].child(folder).uri])
        assert "\n" not in str(error.value)


def test_controls_and_other_clusters_are_followed_too(runs: list[Store], tmp_path: Path) -> None:
    """Parts of runs, whose tokens are above them, and other folders of clusters."""
    copies = []
    for store in runs:
        copy = Path(shutil.copytree(store.root, tmp_path / Path(store.root).name))
        shutil.copytree(store.root, copy / "control", ignore=shutil.ignore_patterns("tokens"))
        (copy / "control/clusters").rename(copy / "control/clusters-k8")
        copies.append(str(copy))
    whole = clusters_over_training(copies)
    parts = clusters_over_training([f"{copy}/control/clusters-k8" for copy in copies])
    assert parts.flows == whole.flows and parts.lineages == whole.lineages
    controls = [f"{copy}/control" for copy in copies]
    means = sets_over_training(controls, MatrixRows.SUBSETS, max_rows=1)
    assert means.names == tuple(reversed(controls))


@pytest.mark.parametrize("scaling", Scaling)
def test_means_of_sets_are_those_of_each_matrix(runs: list[Store], scaling: Scaling) -> None:
    uris = [store.uri for store in runs]
    found = sets_over_training(
        uris, MatrixRows.CLUSTERS, components=["l0h4", "l0h[01]"], scaling=scaling, max_rows=2
    )
    assert found.steps == (1000, 2000, 4000) and found.components == ("l0h4", "l0h0", "l0h1")
    last = matrix(RunView(uris[0]), MatrixRows.CLUSTERS, scaling=scaling, max_rows=2)
    assert found.sets == last.names and len(last.names) == 2
    columns = [COMPONENTS.index(name) for name in found.components]
    np.testing.assert_array_equal(found.mean_SRH[-1], last.mean_RH[:, columns])
    np.testing.assert_array_equal(found.half_width_SRH[-1], last.half_width_RH[:, columns])
    y_members = RunView(uris[0]).clusters.members.to_pydict()
    for row in range(2):  # the same tokens at the first checkpoint
        ids = [t for t, c in zip(*map(y_members.get, ("token_id", "cluster_id")), strict=True)
               if c == row]  # fmt: skip
        x = read_product(runs[-1]).chi_NH.astype(np.float64)
        x -= x.mean(axis=0)
        if scaling is not Scaling.RAW:
            x /= x.std(axis=0)
        if scaling is Scaling.CENTRED:
            x -= x.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(
            found.mean_SRH[0, row], x[ids].mean(axis=0)[columns], rtol=1e-6, atol=1e-9
        )
    few = sets_over_training(uris, MatrixRows.SUBSETS, max_rows=1)
    assert few.sets == ("text",) and len(few.components) == 6


def test_tables_json_and_pictures(
    runs: list[Store], job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*words: str) -> str:
        assert job("across", *(store.uri for store in runs), *words) == 0
        return capsys.readouterr().out

    table = printed("kind=flow", f"out={tmp_path}/flow.svg", "max_rows=2")
    assert "1,000 → 2,000" in table and "born" in table and "more in format=json" in table
    assert (tmp_path / "flow.svg").stat().st_size > 10_000
    flow = json.loads(printed("kind=flow", "format=json"))
    assert sum(flow["flows"][0]["num_by_fate"].values()) == len(flow["flows"][0]["flow"]["fate_A"])
    assert flow["lineages"][0]["fate"] is None and flow["checkpoints"][2]["step"] == 4000
    sets = printed("kind=training", "rows=clusters", f"out={tmp_path}/sets.png", "max_rows=3")
    assert "Mean chi by training step" in sets and "±" in sets
    assert (tmp_path / "sets.png").stat().st_size > 10_000
    means = json.loads(printed("kind=training", "rows=clusters", "max_rows=3", "format=json"))
    assert np.shape(means["mean_SRH"]) == (3, 3, 6) and means["unit"] == "standard deviations"


def test_what_cannot_be_compared_is_refused(runs: list[Store], tmp_path: Path) -> None:
    first = runs[0].uri
    other = make_run(tmp_path / "a", text(8, 2), model=str(tmp_path / "step3000"))
    put_clusters(other)
    bare = make_run(tmp_path / "b", text(NUM_SEQUENCES, 1), model=str(tmp_path / "step3000"))
    unlike = make_run(
        tmp_path / "c", text(8, 2), model=str(tmp_path / "step3000"), fingerprint="other"
    )
    for uris, words in (
        ([first], "at least two runs, one for each checkpoint"),
        ([first, first], "both of training step 4000"),
        ([first, other.uri], "of different tokens"),
        ([first, bare.uri], "has no clusters yet"),
        ([first, unlike.uri], "differs from .* in 'fingerprint'"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            clusters_over_training(uris)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="of another text than"):
        sets_over_training([first, other.uri], MatrixRows.SUBSETS, max_rows=2)
    with pytest.raises(ValueError, match="'l9' selects nothing"):
        sets_over_training([s.uri for s in runs], MatrixRows.SUBSETS, components=["l9"], max_rows=2)
