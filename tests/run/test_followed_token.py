"""One token in its context, followed through runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jobs.across import AcrossJob, AcrossKind
from spectro.analysis.followed_token import correlation
from spectro.analysis.scaling import Scaling
from spectro.config import PipelineConfig
from spectro.formats.product import moments_name, read_chi, read_product
from spectro.storage.checksummed_json import seal, unseal
from spectro.storage.store import Store
from spectro.views.columns import run_columns
from spectro.views.followed_token import follow_token
from spectro.views.run_view import RunView
from tests.run.made_runs import COMPONENTS, CONTEXT, joined, make_run, put_clusters, text

Job = Callable[..., int]
FIRST, SECOND = text(20, 1), text(12, 2)


def with_moments(store: Store) -> Store:
    """Moments of the columns beside each shard's rows, as a measured run has them."""
    for shard in range(4):
        name, chi = moments_name(shard), read_chi(store, shard).astype(np.float64)
        moments = {
            component: {
                "num_tokens": len(x), "mean": x.mean(), "squares": ((x - x.mean()) ** 2).sum(),
                "error_squares": None, "half_means_P2": [], "half_products_P3": [],
            }
            for component, x in zip(COMPONENTS, chi.T, strict=True)
        }  # fmt: skip
        marker = unseal(store.read(name), name)
        store.delete(name)
        store.put(name, seal({**marker, "moments": moments}))
    return store


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """The same sequences in another order, other noise."""
    root = tmp_path_factory.mktemp("followed")
    made = (
        make_run(root / "a", joined(FIRST, SECOND)),
        make_run(root / "b", joined(SECOND, FIRST), noise_seed=1),
    )
    for store in made:
        put_clusters(with_moments(store))
    return made


def cluster_of(store: Store, token_id: int) -> set[int] | None:
    """Members of the smallest cluster that has a token, by hand."""
    members = RunView(store.uri).clusters.members.to_pydict()
    sets: dict[int, set[int]] = {}
    for member, cluster in zip(members["token_id"], members["cluster_id"], strict=True):
        sets.setdefault(cluster, set()).add(member)
    return min((own for own in sets.values() if token_id in own), key=len, default=None)


@pytest.mark.parametrize("scaling", Scaling)
def test_the_same_token_at_another_place(runs: tuple[Store, Store], scaling: Scaling) -> None:
    a, b = runs
    y_N = read_product(a).column("token")
    token_id = int(np.flatnonzero(y_N[: 20 * CONTEXT] < 5)[0])  # of a pile, in FIRST
    found = follow_token([a.uri, b.uri], token_id, scaling=scaling)
    place = token_id + 12 * CONTEXT
    assert [own.token_id for own in found.runs] == [token_id, place]
    assert found.position == token_id % CONTEXT
    for store, own in zip(runs, found.runs, strict=True):
        x = read_product(store).chi_NH.astype(np.float64)
        x -= x.mean(axis=0)
        if scaling is not Scaling.RAW:
            x /= x.std(axis=0)
        if scaling is Scaling.CENTRED:
            x -= x.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(own.x_H, x[own.token_id], rtol=1e-6, atol=1e-9)
        members = cluster_of(store, own.token_id)
        assert members is not None and own.cluster is not None and own.cluster.size == len(members)
        assert np.isnan(own.half_width_H).all()  # no number of chains is known
    first, second = found.runs
    expected = np.corrcoef(first.x_H, second.x_H)[0, 1]
    assert second.correlation_before == pytest.approx(expected)
    assert np.isnan(first.correlation_before) and np.isnan(first.jaccard_before)
    sets = cluster_of(a, token_id), cluster_of(b, place)
    assert sets[0] is not None and sets[1] is not None
    num_first = 20 * CONTEXT
    in_b = {t + 12 * CONTEXT if t < num_first else t - num_first for t in sets[0]}
    jaccard = len(in_b & sets[1]) / len(in_b | sets[1])
    assert second.jaccard_before == pytest.approx(jaccard) and jaccard > 0.5


def test_a_run_and_its_control(
    whole_run: PipelineConfig, job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By token id, or by sequence and position; errors are those of the columns."""
    uris = [whole_run.run.uri, f"{whole_run.run.uri}/control"]

    def printed(*words: str) -> str:
        assert job("across", *uris, *words) == 0
        return capsys.readouterr().out

    view = RunView(uris[0])
    found = json.loads(printed("sequence=1", "position=3", "format=json", "scaling=raw"))
    token_id = view.context + 3
    assert [own["token_id"] for own in found["runs"]] == [token_id, token_id]
    columns = run_columns(view).columns
    chi = view.chi(np.array([token_id]))[0] - columns.mean_C
    width = view.interval.half_width(columns.error_C)
    np.testing.assert_allclose(found["runs"][0]["x_H"], chi, rtol=1e-6)
    np.testing.assert_allclose(found["runs"][0]["half_width_H"], width, rtol=1e-6)
    loss = view.labels_of(np.array([token_id]))["loss"][0].as_py()
    assert found["runs"][0]["loss"] == pytest.approx(loss)
    assert found["runs"][0]["step"] is None and found["runs"][0]["has_clusters"]
    table = printed(f"token_id={token_id}", "max_rows=2", f"out={tmp_path}/token.svg")
    assert "Token in context" in table and "2 more in format=json" in table and "±" in table
    assert (tmp_path / "token.svg").stat().st_size > 10_000


def test_what_cannot_be_followed_is_refused(runs: tuple[Store, Store], tmp_path: Path) -> None:
    a, b = (store.uri for store in runs)
    other = with_moments(make_run(tmp_path / "other", text(32, 9))).uri
    for uris, token_id, words in (
        ([a], 0, "at least two runs; of one: spectro query"),
        ([a, other], 0, "does not have the sequence of token 0"),
        ([a, b], 10**6, "has no token 1000000: its ids are 0 to"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            follow_token(uris, token_id)
        assert "\n" not in str(error.value)
    for settings, words in (
        ({"token_id": 1, "sequence": 1, "position": 1}, "expected token_id, or sequence and"),
        ({"sequence": 1}, "expected token_id, or sequence and position"),
        ({"token_id": -1}, "token_id must be at least 0"),
        ({"token_id": 1, "seed": 3}, "seed is 3, but it has no effect where one token in context"),
        ({"kind": AcrossKind.FLOW, "token_id": 1}, "token_id is 1, but it has no effect with kind"),
        (
            {"kind": AcrossKind.TRAINING, "max_rows": 3},
            "no effect with kind=training .components",
        ),
        ({"scaling": Scaling.RAW}, "scaling is 'raw', but it has no effect with kind=token"),
    ):
        with pytest.raises(ValueError, match=words):
            AcrossJob(**settings)


def test_correlations_of_other_components() -> None:
    x, y = np.array([1.0, 2.0, 4.0, np.nan]), np.array([4.0, 1.0, 2.0, 9.0])
    assert correlation(x, "abcd", y, "cabd") == pytest.approx(1.0)
    assert np.isnan(correlation(x, "abcd", y, "efgh"))
    assert np.isnan(correlation(x, "abcd", np.ones(4), "abcd"))
