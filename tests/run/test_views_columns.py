"""Columns, clusterings and halves of the chains as views read them from storage."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq
import pytest

from spectro.analysis.patterns import NAMES
from spectro.analysis.scaling import Scaling
from spectro.config import PipelineConfig
from spectro.formats.product import read_product
from spectro.storage.store import Store
from spectro.views.across import across
from spectro.views.config import MatrixRows
from spectro.views.drawing import response, shift, spread
from spectro.views.drawing.spread import LEVELS
from spectro.views.figures.columns import control_data, scatter_data, sizes_data, spread_data
from spectro.views.figures.figures import figure
from spectro.views.matrix import sets_of
from spectro.views.run_view import RunView
from spectro.views.token_contexts import vocabulary_of
from tests.run.made_runs import make_run, put_clusters, text


@pytest.fixture
def made(tmp_path: Path, tiny_model_dir: Path) -> Store:
    """Planted clusters, two shards and more, tokens of a byte-level tokenizer."""
    store = make_run(tmp_path / "made", text(20, 1), model=str(tiny_model_dir))
    put_clusters(store)
    return store


def test_two_components_token_by_token(made: Store) -> None:
    """Against the product in one piece; the sample is the same for the same seed."""
    view, product = RunView(made.uri), read_product(made)
    told = scatter_data(view, ("l0h3", "l0h1"), Scaling.STANDARDISED, 50, 7)
    chi = product.chi_NH.astype(float)
    x = (chi - chi.mean(axis=0)) / chi.std(axis=0)
    assert told.correlation == pytest.approx(np.corrcoef(chi[:, 3], chi[:, 1])[0, 1], abs=1e-6)
    row = [int(np.abs(x[:, 3] - a).argmin()) for a in told.x_n2[:, 0].tolist()]
    np.testing.assert_allclose(x[row][:, [3, 1]], told.x_n2, atol=1e-4)
    assert len(set(row)) == 50
    assert len(told.x_n2) == 50 and told.num_tokens == len(chi)
    again = scatter_data(view, ("l0h3", "l0h1"), Scaling.STANDARDISED, 50, 7)
    np.testing.assert_array_equal(told.x_n2, again.x_n2)
    raw = scatter_data(view, ("l0h3", "l0h1"), Scaling.RAW, 10**6, 7)
    np.testing.assert_allclose(raw.x_n2, (chi - chi.mean(axis=0))[:, [3, 1]], atol=1e-5)


def test_how_two_columns_are_spread(made: Store) -> None:
    """Quantiles against the product in one piece, of clusters, whose tokens lie anywhere."""
    view, product = RunView(made.uri), read_product(made)
    known = vocabulary_of(view)
    told = spread_data(
        view, sets_of(view, MatrixRows.CLUSTERS, 3, known), ("l0h4", "l0h0"), Scaling.CENTRED
    )
    chi = product.chi_NH.astype(float)
    x = (chi - chi.mean(axis=0)) / chi.std(axis=0)
    x -= x.mean(axis=1, keepdims=True)
    stored = view.clusters
    member, cluster = (np.asarray(stored.members[name]) for name in ("token_id", "cluster_id"))
    assert told.components == ("l0h4", "l0h0") and 1 < len(told.names) <= 3
    for row, name in enumerate(told.names):
        own = x[member[cluster == int(name.split()[0][1:])]]
        assert told.num_tokens_R[row] == len(own)
        expected = np.quantile(own[:, [4, 0]], LEVELS, axis=0).T
        np.testing.assert_allclose(told.quantile_RC5[row], expected, atol=1e-5)
    assert (
        spread_data(view, sets_of(view, MatrixRows.PATTERNS, 3, known), (), Scaling.RAW).names
        == NAMES
    )


def test_clusters_and_columns_beside_the_control(whole_run: PipelineConfig) -> None:
    whole = RunView(whole_run.run.uri)
    told = sizes_data(whole)
    table = pq.read_table(whole.store.path("control/clusters/clusters.parquet"))
    assert told.control is not None
    assert told.control.size_K.tolist() == table["size"].to_pylist()
    assert told.real.size_K.tolist() == whole.clusters.clusters["size"].to_pylist()
    assert told.real.num_clustered == len(set(whole.clusters.members["token_id"].to_pylist()))
    assert sizes_data(RunView(f"{whole.uri}/control")).control is None
    both = control_data(whole)
    assert both.components == whole.components
    for row, view in enumerate((RunView(f"{whole.uri}/control"), whole)):
        for name in ("reliability", "standard_deviation"):
            values = both.reliability_2H if name == "reliability" else both.deviation_2H
            known = [float("nan") if v is None else v for v in view.summary[name]]
            np.testing.assert_array_equal(values[row], known)


def test_a_half_of_the_chains_is_a_place(made: Store) -> None:
    """Beside its whole it can be looked at token by token; a map it has none of its own."""
    put_clusters(made, "clusters/half-0")
    view = RunView(f"{made.uri}/clusters/half-0")
    assert view.uri == made.uri and view.folder == "clusters/half-0" and view.is_half
    assert not RunView(made.uri).is_half
    top = view.clusters.clusters["top_tokens"].to_pylist()[0][0]
    word = bytes(vocabulary_of(view).pieces[top]).decode()
    told = across([made.uri, f"{made.uri}/clusters/half-0"], word)
    shown = [[(c.cluster_id, c.count, c.size) for c in run.clusters] for run in told.runs]
    assert told.notes == () and shown[0] == shown[1] != []
    figure(view, "card")
    with pytest.raises(ValueError, match=rf"space of that half alone: take {made.uri}/clusters$"):
        figure(view, "map")


@pytest.mark.parametrize(
    ("kind", "module"), [("matrix", response), ("shift", shift), ("spread", spread)]
)
def test_too_many_rows_are_refused_before_chi_is_read(
    made: Store, monkeypatch: pytest.MonkeyPatch, kind: str, module: ModuleType
) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 1)
    monkeypatch.setattr(RunView, "shards", lambda _: pytest.fail("read all of χ first"))
    with pytest.raises(ValueError, match=r"a figure has room for 1 .*max_rows="):
        figure(made.uri, kind, rows="clusters")
