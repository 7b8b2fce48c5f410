"""Nearest tokens, one token, one cluster, a text; and `spectro query` as people call it."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.rows import write_rows as write
from spectro.formats.clusters.clusters import read_clusters
from spectro.formats.product import read_product
from spectro.storage.store import Store
from spectro.tokens.display.context_text import Vocabulary
from spectro.tokens.display.terminal_text import plain_token
from spectro.views.query import contexts as query_contexts
from spectro.views.query.config import Window
from spectro.views.query.lookups import find, nearest, of_cluster, of_token
from spectro.views.query.query import Query
from spectro.views.run_view import RunView
from tests.run.made_runs import COMPONENTS, CONTEXT, make_run, put_clusters, text

Job = Callable[..., int]
NUM_TOKENS = 20 * CONTEXT
PIECES = [b" a", b"\n", b"\xff", b"<i>", b"\x1b[31m", *(b"t%d" % i for i in range(45))]
WINDOW = Window(before=3, after=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A run of three shards with clusters; look, do not touch."""
    store = make_run(tmp_path_factory.mktemp("made") / "run", text(20, 1))
    put_clusters(store)
    return store


@pytest.fixture
def bare(made: Store, tmp_path: Path) -> Store:
    """The same without clusters."""
    shutil.copytree(made.root, tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare/clusters")
    return Store(str(tmp_path / "bare"))


@pytest.fixture
def query(made: Store) -> Iterator[Query]:
    with Query(RunView(made.uri), lambda: Vocabulary(pieces=PIECES)) as opened:
        yield opened


def brute_force(x_ND: np.ndarray, token_id: int, k: int) -> tuple[list[int], np.ndarray]:
    distance = np.linalg.norm(x_ND.astype(np.float64) - x_ND[token_id], axis=1)
    order = np.lexsort((np.arange(len(distance)), distance))
    order = order[order != token_id][:k]
    return order.tolist(), distance[order]


@pytest.mark.parametrize("token_id", [0, 161, NUM_TOKENS - 1])
def test_nearest_where_clusters_were_sought(query: Query, made: Store, token_id: int) -> None:
    transform = read_clusters(f"{made.uri}/clusters").transform
    ids, distances = brute_force(transform.apply(read_product(made).chi_NH), token_id, 7)
    found = nearest(query, token_id, 7, WINDOW)
    assert found.table["token_id"].to_pylist() == ids
    np.testing.assert_allclose(found.table["distance"], distances, rtol=1e-6)
    assert "preprocessed" in found.notes[0]


def test_nearest_without_clusters(bare: Store) -> None:
    """Standardised by hand: float32 rounding of χ is 1e-7 of a deviation of one."""
    chi_NH = read_product(bare).chi_NH.astype(np.float64)
    ids, distances = brute_force((chi_NH - chi_NH.mean(0)) / chi_NH.std(0), 5, 400)
    with Query(RunView(bare.uri)) as query:
        found = nearest(query, 5, 400, WINDOW)
        assert found.table.num_rows == NUM_TOKENS - 1 == len(ids)
        np.testing.assert_allclose(found.table["distance"], distances, rtol=1e-5)
        assert found.table["token_id"].to_pylist()[:5] == ids[:5]
        assert "standardised" in found.notes[0]
        assert set(found.table["cluster_id"].to_pylist()) == {None}
        with pytest.raises(ValueError, match="has no clusters yet"):
            of_cluster(query, 0, WINDOW)


def test_contexts_show_y_and_what_is_around_it(query: Query, made: Store) -> None:
    ids_T1 = RunView(made.uri).sequences(np.array([4]))[0][0]
    with Query(RunView(made.uri)) as numbers:
        for position, before in ((0, ids_T1[:1]), (9, ids_T1[7:10]), (CONTEXT - 1, ids_T1[-4:-1])):
            row = of_token(numbers, 4 * CONTEXT + position, WINDOW).context
            after = ids_T1[position + 2 : position + 4]
            told = [
                "".join(f"⟨{i}⟩" for i in part) for part in (before, [ids_T1[position + 1]], after)
            ]
            assert list(row) == told


def test_one_token(query: Query, made: Store) -> None:
    chi_H = read_product(made).chi_NH[33]
    transform = read_clusters(f"{made.uri}/clusters").transform
    found = of_token(query, 33, WINDOW)
    rows = {row["component"]: row for row in found.table.to_pylist()}
    assert [rows[name]["chi"] for name in COMPONENTS] == chi_H.tolist()
    own = transform.standardise(chi_H[None])[0]
    assert [rows[name]["standardised"] for name in COMPONENTS] == own.tolist()
    strongest = [abs(row["standardised"]) for row in found.table.to_pylist()]
    assert strongest == sorted(strongest, reverse=True)
    assert "first_half" not in found.table.column_names  # none are stored
    assert all(np.isnan(row["half_width_95"]) for row in rows.values())


def test_one_cluster(query: Query, made: Store) -> None:
    members = pq.read_table(made.path("clusters/members.parquet")).to_pandas()
    own = members[members["cluster_id"] == 1]
    found = of_cluster(query, 1, WINDOW)
    assert found.table["token_id"].to_pylist() == own["token_id"].tolist()
    np.testing.assert_array_equal(found.table["rank"], own["rank"])
    assert set(found.table["cluster_id"].to_pylist()) == {1}
    assert f"{len(own)} tokens" in found.title


def test_a_text(query: Query, made: Store) -> None:
    token_N = read_product(made).column("token")
    exact, holding = (
        np.flatnonzero(token_N == 6),
        np.flatnonzero(np.isin(token_N, [6, *range(15, 25)])),
    )
    found = find(query, "t1", WINDOW).table.to_pylist()
    assert [row["token_id"] for row in found if row["match"] == "is"] == exact.tolist()
    assert sorted(row["token_id"] for row in found) == holding.tolist()
    assert [row["match"] for row in found] == sorted((r["match"] for r in found), reverse=True)
    assert find(query, "not there", WINDOW).table.num_rows == 0


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda q: nearest(q, NUM_TOKENS, 3, WINDOW), "has no token 400: its ids are 0 to 399"),
        (lambda q: nearest(q, 0, 0, WINDOW), "query.k must be at least 1"),
        (lambda q: of_token(q, -1, WINDOW), "has no token -1"),
        (lambda q: of_cluster(q, 999, WINDOW), "has no cluster 999: its ids are 0 to"),
        (lambda q: find(q, "", WINDOW), "query.find is empty"),
        (lambda q: Window(before=-1), "query.window.before must be at least 0"),
    ],
)
def test_what_is_not_there(query: Query, ask: Callable[[Query], object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ask(query)


def test_the_same_answer_again(made: Store) -> None:
    sql = "select subset, avg(loss), sum(l0h0), count(*) from chi group by all"
    answers = []
    for _ in range(2):
        with Query(RunView(made.uri)) as opened:
            answers.append(opened.table(sql))
    assert answers[0].equals(answers[1])


def test_a_text_without_a_vocabulary(made: Store) -> None:
    with Query(RunView(made.uri)) as numbers:
        with pytest.raises(ValueError, match="needs the vocabulary"):
            find(numbers, "a", WINDOW)


def test_files_have_all_rows(
    made: Store, tmp_path: Path, job: Job, capfd: pytest.CaptureFixture[str]
) -> None:
    run, sql = f"run.uri={made.uri}", "query.sql=select token_id, chi from tokens order by 1"
    for name in ("a.csv", "a.json", "a.parquet"):
        assert job("query", run, sql, f"query.out={name}") == 0
        assert f"{NUM_TOKENS} rows: {name}" in capfd.readouterr().out
    chi = read_product(made).chi_NH.tolist()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert [json.loads(row["chi"]) for row in rows] == chi
    assert [row["chi"] for row in json.loads((tmp_path / "a.json").read_text())] == chi
    assert pq.read_table(tmp_path / "a.parquet")["chi"].to_pylist() == chi
    assert job("query", run, "query.sql=select error('no')", "query.out=a.csv") == 2
    assert len((tmp_path / "a.csv").read_text()) > NUM_TOKENS  # what fails replaces nothing
    assert job("query", run, "query.sql=select 1", "query.out=a.csv") == 0
    assert (tmp_path / "a.csv").read_text().splitlines()[1:] == ["1"]
    assert job("query", run, "query.sql=select error('no')", "query.out=b.csv") == 2
    assert not (tmp_path / "b.csv").exists()
    capfd.readouterr()
    assert job("query", run, "query.show=3", "query.format=json") == 0
    assert len(json.loads(capfd.readouterr().out)) == len(COMPONENTS)


def test_a_table_says_what_it_leaves_out(
    made: Store, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    run = f"run.uri={made.uri}"
    assert job("query", run, "query.sql=select * from tokens", "query.limit=3") == 0
    told = capsys.readouterr().out
    assert "the first 3 rows; there are more" in told and "… 6]" not in told
    assert job("query", run, "query.near=4", "query.k=9", "query.limit=3") == 0
    told = capsys.readouterr().out
    assert "the first 3 rows; there are 9" in told and "⟦" in told  # no colour: y in brackets
    assert job("query", run, "query.sql=select 1 where false") == 0
    assert "no rows" in capsys.readouterr().out
    assert job("query", run) == 0
    assert "chi float[6]" in capsys.readouterr().out


def test_no_control_characters_reach_the_terminal(
    made: Store, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    sql = "select chr(27) || '[31m' || chr(8238) || '[bold]' as \"a[red]\""
    assert job("query", f"run.uri={made.uri}", f"query.sql={sql}") == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told and "\u202e" not in told
    assert "⟨␛⟩[31m⟨U+202E⟩[bold]" in told and "a[red]" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["query.near=1", "query.show=2"], "ask one at a time"),
        (["query.out=a.txt", "query.near=1"], "query.out must end in .csv, .json or .parquet"),
        (["query.format=parquet", "query.near=1"], "query.format=parquet needs a file"),
        (["query.limit=0"], "query.limit must be at least 1"),
        (["query.limits.threads=0"], "query.limits.threads must be at least 1"),
        (["query.sql=select"], "without selection list"),
    ],
)
def test_wrong_arguments(
    made: Store, job: Job, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert job("query", f"run.uri={made.uri}", *arguments) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_no_text_in_a_csv_is_a_formula(tmp_path: Path) -> None:
    """Tokens can begin like one; numbers stay numbers, and other files are exact."""
    cells = ["=1+1", "+1", "-1", "@a", "\tb", "a=1", "", None, "'c", "−1", '=hyperlink("x")']
    columns = {
        "=name": pa.array(cells),
        "number": pa.array([-1.5] * len(cells)),
        "kind": pa.array(["-x"] * len(cells)).dictionary_encode(),
        "list": pa.array([["=1"]] * len(cells)),
    }
    table = pa.table(columns)
    for kind in ("csv", "json", "parquet"):
        assert write(table.to_reader(), kind, str(tmp_path / f"a.{kind}")) == len(cells)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as lines:
        head, *rows = csv.reader(lines)
    assert head == ["'=name", "number", "kind", "list"]
    expected = ["'" + cell if index < 5 or index == 10 else cell or ""
                for index, cell in enumerate(c or "" for c in cells)]  # fmt: skip
    assert [row[0] for row in rows] == expected
    assert {tuple(row[1:]) for row in rows} == {("-1.5", "'-x", '["=1"]')}
    assert [row["=name"] for row in json.loads((tmp_path / "a.json").read_text())] == cells
    assert pq.read_table(tmp_path / "a.parquet")["=name"].to_pylist() == cells


def test_contexts_are_made_as_they_are_read(made: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks at a few of many waits for a few; how rows are cut changes none of them."""
    with Query(RunView(made.uri), lambda: Vocabulary(pieces=PIECES)) as opened:
        whole = find(opened, "t", WINDOW)
        assert whole.num_rows > 200 and whole.table.num_rows == whole.num_rows
    monkeypatch.setattr(query_contexts, "FIRST_ROWS", 3)
    monkeypatch.setattr(query_contexts, "BATCH_ROWS", 50)
    shown: list[int] = []
    text_of = Query.text_of

    def counted(self: Query, token: int) -> str:
        shown.append(token)
        return text_of(self, token)

    monkeypatch.setattr(Query, "text_of", counted)
    with Query(RunView(made.uri), lambda: Vocabulary(pieces=PIECES)) as opened:
        cut = find(opened, "t", WINDOW)
        assert not shown
        first = cut.rows.read_next_batch()
        assert first.num_rows == 3 and len(shown) <= 3 * (WINDOW.before + 1 + WINDOW.after)
        rest = cut.rows.read_all()
    assert pa.concat_tables([pa.Table.from_batches([first]), rest]).equals(whole.table)


def test_an_entry_of_the_vocabulary_is_shown_once(
    query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[bytes | None] = []

    def counted(piece: bytes | None) -> str:
        shown.append(piece)
        return plain_token(piece)

    monkeypatch.setattr("spectro.views.query.query.plain_token", counted)
    assert find(query, "t", WINDOW).table.num_rows > len(PIECES)
    assert 0 < len(shown) <= len(PIECES)
