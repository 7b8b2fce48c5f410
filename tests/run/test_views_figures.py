"""Figures, matrix and tokens across runs, from storage: a whole small run and made ones."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from spectro.analysis.patterns import NAMES
from spectro.analysis.scaling import Scaling
from spectro.config import PipelineConfig
from spectro.formats import tokens
from spectro.formats.product import read_product
from spectro.storage.store import Store
from spectro.views.across import across
from spectro.views.config import THEMES, MatrixRows
from spectro.views.figures.figures import FigureConfig, Kind, figure
from spectro.views.matrix import matrix, principal_axes
from spectro.views.run_view import RunView
from spectro.views.token_contexts import lit_tokens, vocabulary_of
from tests.run.made_runs import (
    CONFIG,
    CONTEXT,
    add_tokens,
    make_run,
    put_clusters,
    text,
)

Job = Callable[..., int]


@pytest.fixture
def whole(whole_run: PipelineConfig) -> RunView:
    return RunView(whole_run.run.uri)


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Store:
    """Planted clusters, two shards and more, tokens of a byte-level tokenizer."""
    folder = tmp_path_factory.mktemp("clustered") / "made"
    store = make_run(folder, text(20, 1), model=str(tiny_model_dir))
    put_clusters(store)
    return store


@pytest.fixture
def made(clustered: Store, tmp_path: Path) -> Store:
    """A copy of it."""
    return Store(str(shutil.copytree(clustered.root, tmp_path / "made")))


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.SAE])
def test_every_kind_of_a_whole_run(whole: RunView, tmp_path: Path, kind: Kind) -> None:
    before = whole.store.list()
    known = vocabulary_of(whole)
    token = known.show(int(whole.labels(["token"])["token"][0].as_py()))
    for name in THEMES:
        figure(whole, kind, out=str(tmp_path / f"{name}.svg"), theme=name, num_axes=1, num_tokens=1,
               token=token)  # fmt: skip
    assert (tmp_path / "light.svg").read_bytes() != (tmp_path / "dark.svg").read_bytes()
    assert whole.store.list() == before  # nothing is written into a run that is looked at


def test_a_figure_replaces_the_one_that_is_there(whole: RunView, tmp_path: Path) -> None:
    out = tmp_path / "a.svg"
    figure(whole.uri, "matrix", out=str(out))
    first = out.read_bytes()
    figure(whole.uri, "matrix", out=str(out), rows="patterns")
    assert out.read_bytes() != first
    figure(whole.uri, "matrix", out=str(out))
    assert out.read_bytes() == first


def test_matrix_of_subsets_and_of_clusters(made: Store) -> None:
    """Against the product in one piece; also with tokens that were added after clustering."""
    add_tokens(made, text(5, 2))
    view, product = RunView(made.uri), read_product(made)
    told = matrix(view, MatrixRows.CLUSTERS, scaling=Scaling.RAW, max_rows=3)
    stored = view.clusters
    member, cluster = (np.asarray(stored.members[name]) for name in ("token_id", "cluster_id"))
    mean = product.chi_NH.mean(axis=0, dtype=float)
    for row, name in enumerate(told.names):
        index = int(name.split()[0][1:])
        own = member[cluster == index]
        assert told.num_tokens_R[row] == own.size
        expected = product.chi_NH[own].mean(axis=0, dtype=float) - mean
        np.testing.assert_allclose(told.mean_RH[row], expected, atol=1e-6)
    assert len(told.names) == min(3, stored.clusters.num_rows)
    subsets = matrix(view, scaling=Scaling.RAW)
    np.testing.assert_allclose(subsets.mean_RH, 0.0, atol=1e-9)  # one subset is all tokens
    assert subsets.names == ("text",) and subsets.num_tokens_R.tolist() == [25 * CONTEXT]


def test_matrix_of_patterns(made: Store) -> None:
    view = RunView(made.uri)
    told = matrix(view, MatrixRows.PATTERNS)
    assert told.names == NAMES and told.num_tokens_R.sum() > 0
    y = np.asarray(view.labels(["token"])["token"].combine_chunks())
    pieces = vocabulary_of(view).pieces
    assert pieces is not None
    digits = [i for i in range(50) if (pieces[i] or b"").isdigit()]
    assert told.num_tokens_R[NAMES.index("numeric")] == np.isin(y, digits).sum()


def test_ends_of_axes_are_the_tokens_themselves(made: Store) -> None:
    view, product = RunView(made.uri), read_product(made)
    data = principal_axes(view, num_axes=1, num_ends=3)
    x = (product.chi_NH - product.chi_NH.mean(axis=0)) / product.chi_NH.std(axis=0)
    score = x @ data.principal.loading_AH[0]
    ids = [end.lit.token_id for end in data.high[0]]
    np.testing.assert_allclose(score[ids], np.sort(score)[::-1][:3], rtol=1e-4)
    known = vocabulary_of(view)
    assert data.high[0][0].lit.y == known.show(int(product.column("token")[ids[0]]))


def test_contexts(made: Store) -> None:
    view = RunView(made.uri)
    ids = text(20, 1).ids_ST1
    (first, other) = lit_tokens(view, np.array([3 * CONTEXT, 7 * CONTEXT + 19]),
                                vocabulary_of(view), before=4, after=2)  # fmt: skip
    show = vocabulary_of(view).show
    assert first.before == (show(int(ids[3, 0])),) and first.y == show(int(ids[3, 1]))
    assert first.after == tuple(show(int(i)) for i in ids[3, 2:4]) and not first.clipped
    assert len(other.before) == 4 and other.after == () and other.clipped


def test_without_the_model(tmp_path: Path) -> None:
    """Tokens are shown by their ids; what needs their text says so."""
    made = make_run(tmp_path / "made", text(20, 1), model="/nowhere")
    put_clusters(made)
    view = RunView(made.uri)
    assert vocabulary_of(view).show(17) == "\ue000#17\ue001"
    figure(view, "card")
    with pytest.raises(ValueError, match=r"rows=patterns needs the tokenizer of .* '/nowhere'"):
        matrix(view, MatrixRows.PATTERNS)
    with pytest.raises(ValueError, match="spectro across needs the tokenizer"):
        across([made.uri], "a")


def test_what_there_is_not(tmp_path: Path, made: Store) -> None:
    bare = make_run(tmp_path / "bare", text(3, 4))
    for kind in ("map", "card", "clusters"):
        with pytest.raises(ValueError, match="no clusters yet"):
            figure(bare.uri, kind)
    figure(bare.uri, "matrix")
    with pytest.raises(ValueError, match=r"has no cluster 99: its \d+ clusters"):
        figure(made.uri, "card", cluster_id=99)
    with pytest.raises(ValueError, match="no nβ = 0 control to show beside it"):
        figure(made.uri, "control")
    with pytest.raises(ValueError, match="no finished chains"):
        figure(made.uri, "traces")
    with pytest.raises(ValueError, match="takes two components, found 1: as in components="):
        figure(made.uri, "scatter", components=("l0h0",))
    with pytest.raises(ValueError, match="found 'l9h9', which the run has not"):
        figure(made.uri, "scatter", components=("l0h0", "l9h9"))
    with pytest.raises(ValueError, match=r"out=.* is a folder"):
        figure(made.uri, "matrix", out=_folder(tmp_path, "a.svg"))
    with pytest.raises(ValueError, match="'pie' is not a valid Kind"):
        figure(made.uri, "pie")
    with pytest.raises(ValueError, match=r"must end in .svg, .pdf, .png"):
        figure(made.uri, "map", out="a.txt")
    with pytest.raises(ValueError, match="max_points must be at least 1, found 0"):
        FigureConfig(max_points=0)


def _folder(above: Path, name: str) -> str:
    (above / name).mkdir()
    return str(above / name)


def test_a_run_of_one_token(tmp_path: Path) -> None:
    """One sequence, hardly any token, no cluster: every figure that needs none is drawn."""
    store = make_run(tmp_path / "one", text(1, 1))
    put_clusters(store, config=dataclasses.replace(CONFIG, num_neighbours=3, min_size=19))
    view = RunView(store.uri)
    assert tokens.read_info(store).splits["probe"].num_sequences == 1
    for kind in ("map", "clusters", "matrix", "axes", "shift", "scatter", "spread"):
        figure(view, kind)


def test_one_token_across_runs(made: Store, tmp_path: Path, tiny_model_dir: Path) -> None:
    """Counts against the members; the same run beside itself is the same everywhere."""
    put_clusters(made, "clusters-again")
    view = RunView(made.uri)
    top = view.clusters.clusters["top_tokens"].to_pylist()[0][0]
    pieces = vocabulary_of(view).pieces
    assert pieces is not None and pieces[top] is not None
    word = pieces[top].decode()
    told = across([made.uri, f"{made.uri}/clusters-again"], word, num_contexts=2)
    y = np.asarray(view.labels(["token"])["token"].combine_chunks())
    first = told.runs[0]
    assert first.num_occurrences == (y == top).sum() and first.num_tokens == y.size
    members = view.clusters.members
    for cluster in first.clusters:
        own = np.asarray(members["token_id"])[
            np.asarray(members["cluster_id"]) == cluster.cluster_id
        ]
        assert cluster.count == (y[own] == top).sum() and cluster.size == own.size
        assert all(y[lit.token_id] == top and lit.token_id in own for lit in cluster.contexts)
    same = {link.clusters for link in told.links if link.matched}
    assert {(c.cluster_id, c.cluster_id) for c in first.clusters} <= same
    other = make_run(tmp_path / "other", text(6, 9), model=str(tiny_model_dir))
    put_clusters(other)
    apart = across([made.uri, other.uri], word)
    assert apart.links == () and "none of 20 and 6 sequences" in apart.notes[0]
    with pytest.raises(ValueError, match=r"no token of .* is 'zebra'"):
        across([made.uri], "zebra")


def test_the_matrix_command(
    made: Store, job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = f"run.uri={made.uri}"
    assert job("matrix", run, "rows=clusters", "scaling=raw", f"out={tmp_path}/m.parquet") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "± 95 % interval (Student t, over the sequences that have the set)" in out
    assert "sequences" in out
    assert job("matrix", run, "rows=clusters", "format=json", f"out={tmp_path}/m.csv") == 0
    told = json.loads(capsys.readouterr().out)
    rows = pq.read_table(tmp_path / "m.parquet").to_pydict()
    assert len(rows["shift"]) == len(told["rows"]) * len(told["components"])
    expected = matrix(RunView(made.uri), MatrixRows.CLUSTERS, scaling=Scaling.RAW)
    np.testing.assert_allclose(rows["shift"], expected.mean_RH.reshape(-1))
    # two passes of its own: in how many sequences of the one subset each cluster has tokens
    members = RunView(made.uri).clusters.members.to_pandas()
    num_sequences = (members["token_id"] // CONTEXT).groupby(members["cluster_id"]).nunique()
    wide = stats.t.ppf(0.975, num_sequences.to_numpy() - 1)
    assert [row["num_sequences"] for row in told["rows"]] == num_sequences.tolist()
    for row, t in zip(told["rows"], wide, strict=True):
        assert row["half_width_95"] == pytest.approx([t * e for e in row["standard_error"]])
    width = np.repeat(wide, len(told["components"])) * np.array(rows["standard_error"])
    np.testing.assert_allclose(rows["half_width_95"], width)
    with (tmp_path / "m.csv").open(newline="") as lines:
        read = list(csv.DictReader(lines))
    assert read[0]["row"] == told["rows"][0]["name"] and read[0]["scaling"] == "standardised"
    assert float(read[1]["shift"]) == pytest.approx(told["rows"][0]["shift"][1])
    before = (tmp_path / "m.csv").read_bytes()
    assert job("matrix", run, f"out={tmp_path}/m.csv") == 0  # of subsets: another table
    assert (tmp_path / "m.csv").read_bytes() != before
    assert job("matrix", run, f"out={made.uri}/clusters/clusters.parquet") == 2
    assert "whose objects are never replaced" in capsys.readouterr().err


def test_the_figure_command(
    made: Store, job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.pdf"
    assert job("figure", f"run.uri={made.uri}", "kind=matrix", "theme=dark", f"out={out}") == 0
    assert out.read_bytes().startswith(b"%PDF") and str(out) in capsys.readouterr().out
    assert job("figure", f"run.uri={made.uri}/clusters", "kind=shift") == 0
    assert (Path.cwd() / "shift.svg").exists()


def test_the_across_command(
    made: Store, job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tokens of the byte-level vocabulary: id 1 is a double quotation mark."""
    view = RunView(made.uri)
    top = view.clusters.clusters["top_tokens"].to_pylist()[0][0]
    word = bytes(vocabulary_of(view).pieces[top]).decode()
    given = (f"runs=['{made.uri}','{made.uri}/clusters']", f"token={word}")
    assert job("across", *given, f"out={tmp_path}/a.svg") == 0
    told = capsys.readouterr().out
    assert "The same tokens" in told and "1.00" in told and "a.svg" in told
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")
    assert job("across", *given, "format=json") == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["runs"][0]["clusters"][0]["cluster_id"] == 0 and plain["links"][0]["matched"]


@pytest.mark.parametrize("name", ["figure", "matrix", "across"])
def test_help(name: str, job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    assert job(name, "--help") == 0
    told = capsys.readouterr().out
    assert f"spectro {name} <run>" in told
    if name == "figure":
        assert all(f"kind={kind.value}" in told for kind in Kind)


@pytest.mark.parametrize(
    ("name", "argument", "message"),
    [
        (
            "figure",
            "kind=pie",
            "kind must be one of map, card, clusters, sae, matrix, axes,",
        ),
        ("figure", "out=a.jpg", "must end in .svg, .pdf, .png"),
        ("figure", "max_rows=0", "max_rows must be at least 1"),
        ("figure", "run.uri=nowhere", "nowhere"),
        ("matrix", "rows=words", "rows must be one of subsets, clusters, patterns"),
        ("matrix", "out=a.txt", "out must end in .parquet or .csv"),
        ("across", "runs=[]", "across needs runs and a token"),
        ("across", "out=a.gif", "must end in .svg, .pdf, .png"),
        ("across", "max_clusters=0", "max_clusters must be at least 1"),
    ],
)
def test_wrong_arguments(
    name: str, argument: str, message: str, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    assert job(name, argument) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
