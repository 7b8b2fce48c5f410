"""SQL over a made run: right answers, read sparingly, and nothing else within reach."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spectro.formats import run_dir
from spectro.formats.product import part_name, read_product
from spectro.storage.ranges import Meter, RangeReader
from spectro.storage.store import Store
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.cluster_tables import smallest_cluster
from spectro.views.query.config import Limits
from spectro.views.query.query import Query
from spectro.views.query.sources import TokenRows
from spectro.views.run_view import RunView
from tests.run import made_runs
from tests.run.made_runs import COMPONENTS, CONTEXT, make_run, put_clusters, text
from tests.servers.seaweed import BUCKET

FOOTER_BYTES = 2**16
"""Bytes at the end of a file that are read for its footer."""
NUM_SEQUENCES = 20
NUM_TOKENS = NUM_SEQUENCES * CONTEXT
PIECES = [b" a", b"\n", b"\xff", b"<script>", b"\x1b[31m", b'"', *(b"t%d" % i for i in range(44))]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A run of three shards with clusters; look, do not touch."""
    store = make_run(tmp_path_factory.mktemp("made") / "run", text(NUM_SEQUENCES, 1))
    put_clusters(store)
    return store


@pytest.fixture
def query(made: Store) -> Iterator[Query]:
    with Query(RunView(made.uri), lambda: Vocabulary(pieces=PIECES)) as opened:
        yield opened


def test_columns_are_those_of_the_product(query: Query, made: Store) -> None:
    product = read_product(made)
    found = query.table("select * from tokens order by token_id")
    assert found.num_rows == NUM_TOKENS
    for name in ("token_id", "sequence_id", "position", "token", "loss", "full_response"):
        np.testing.assert_array_equal(np.asarray(found[name]), product.column(name))
    assert found["subset"].to_pylist() == product.table["subset"].to_pylist()
    np.testing.assert_array_equal(np.array(found["chi"].to_pylist(), np.float32), product.chi_NH)
    tops = {0: "␣a", 1: "⏎", 2: "⟨FF⟩", 3: "<script>", 4: "⟨␛⟩[31m"}
    shown = dict(zip(found["token"].to_pylist(), found["text"].to_pylist(), strict=True))
    assert {token: shown[token] for token in tops} == tops


def test_a_column_per_component(query: Query, made: Store) -> None:
    chi_NH = read_product(made).chi_NH
    found = query.table(f"select {', '.join(COMPONENTS)} from chi order by token_id")
    np.testing.assert_array_equal(np.stack([np.asarray(c) for c in found.columns], axis=1), chi_NH)
    assert query.tables["tokens"][-1] == ("chi", f"FLOAT[{len(COMPONENTS)}]")


def test_clusters_of_tokens(query: Query, made: Store) -> None:
    members = pq.read_table(made.path("clusters/members.parquet")).to_pylist()
    of = {row["token_id"]: row["cluster_id"] for row in members}
    assert of
    rows = query.table("select token_id, cluster_id from tokens").to_pylist()
    assert {r["token_id"]: r["cluster_id"] for r in rows if r["cluster_id"] is not None} == of
    joined = query.table(
        "select c.cluster_id, c.size, count(*) n, any_value(top_text[1]) as top "
        "from clusters c join members using (cluster_id) group by all order by 1"
    ).to_pylist()
    assert [row["n"] for row in joined] == [row["size"] for row in joined]
    assert all(row["top"] for row in joined)


def test_the_smallest_of_several_clusters(made: Store) -> None:
    cluster_N = smallest_cluster(np.array([7, 3, 7, 9]), np.array([0, 0, 2, 1]), NUM_TOKENS)
    rows = TokenRows(made, meter=Meter(), texts=None, clusters=lambda: cluster_N)
    batches = rows.batches(["token_id", "cluster_id", "text"], None)
    found = pa.Table.from_batches(list(batches)).to_pylist()
    clusters = {r["token_id"]: r["cluster_id"] for r in found if r["cluster_id"] is not None}
    assert clusters == {3: 0, 7: 2, 9: 1}
    assert {row["text"] for row in found} == {None}


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("token_id between 155 and 170", lambda t: (t["token_id"] >= 155) & (t["token_id"] <= 170)),
        ("text = '␣a'", lambda t: t["token"] == 0),
        ("token < 9 and cluster_id is null", lambda t: (t["token"] < 9) & t["cluster_id"].isna()),
        ("cluster_id in (0, 1)", lambda t: t["cluster_id"].isin([0, 1])),
        ("subset = 'text' and position > 17", lambda t: t["position"] > 17),
        ("subset = 'cluster_id text'", lambda t: t["token"] < 0),
        ("chi[2] > 3", lambda t: t["chi"].map(lambda chi: chi[1] > 3)),
    ],
)
def test_wanted_rows(query: Query, where: str, kept: object) -> None:
    """What is handed down to the reading of files gives the rows that filtering afterwards does."""
    everything = query.table("select * from tokens").to_pandas()
    expected = sorted(everything[kept(everything)]["token_id"])
    found = query.table(f"select token_id from tokens where {where}")
    assert sorted(found["token_id"].to_pylist()) == expected
    count = query.table(f"select count(*) as n from tokens where {where}")
    assert count["n"].to_pylist() == [len(expected)]


def test_only_the_columns_asked_for_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every shard the end, where the footer is, and the columns; of other shards the end."""
    monkeypatch.setattr(made_runs, "PER_SHARD", 1000)
    store, shards = make_run(tmp_path / "run", text(3000, 1)), range(3)
    files = [pq.ParquetFile(store.path(part_name(shard))).metadata.row_group(0) for shard in shards]
    ends = len(shards) * (FOOTER_BYTES + 1024)

    def stored(column: str) -> list[int]:
        each = [[file.column(i) for i in range(file.num_columns)] for file in files]
        return [
            sum(c.total_compressed_size for c in own if c.path_in_schema.split(".")[0] == column)
            for own in each
        ]

    with Query(RunView(store.uri)) as query:

        def read(sql: str) -> int:
            before = query.meter.num_bytes
            assert query.table(sql).num_rows
            return query.meter.num_bytes - before

        assert sum(stored("chi")) > 4 * ends
        assert 0 < read("select avg(loss) from tokens") - sum(stored("loss")) <= ends
        assert 0 <= read("select avg(l0h0) from chi") - sum(stored("chi")) <= ends
        last = 3000 * CONTEXT - 1
        one = read(f"select chi from tokens where token_id = {last}")
        assert 0 < one - stored("chi")[-1] - stored("token_id")[-1] <= ends
        assert read("select * from components") == 0


def test_a_part_of_an_object(made: Store) -> None:
    data, meter = made.read(part_name(0)), Meter()
    reader = RangeReader(made, part_name(0), len(data), meter)
    reader.seek(-10, 2)
    assert reader.read(4) == data[-10:-6] and reader.read() == data[-6:] and reader.read(5) == b""
    assert (meter.num_bytes, meter.num_reads) == (10, 2)
    reader.seek(3)
    held = bytearray(7)
    assert reader.readinto(held) == 7 and bytes(held) == data[3:10] and reader.tell() == 10
    with pytest.raises(FileNotFoundError, match="does not exist"):
        RangeReader(made, "susceptibilities/none", 4, meter).read()


@pytest.mark.parametrize("server", ["moto_server", "seaweed"])
def test_the_same_from_s3(
    made: Store, server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in request.getfixturevalue(server).environment().items():
        monkeypatch.setenv(name, value)
    there = Store(f"s3://{BUCKET}/query/run")
    for name in made.list():
        there.put(name, made.read(name))
    sql = "select text, cluster_id, avg(l0h2), count(*) from chi group by all order by all"
    with Query(RunView(there.uri), lambda: Vocabulary(pieces=PIECES)) as far:
        with Query(RunView(made.uri), lambda: Vocabulary(pieces=PIECES)) as near:
            assert far.table(sql).equals(near.table(sql))
        assert far.meter.num_bytes == near.meter.num_bytes
        for wrong in (f"from '{there.uri}/run.yaml'", f"from read_text('{there.uri}/run.yaml')"):
            with pytest.raises(ValueError, match="Error"):
                far.table(wrong)


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('{secret}')",
        "select * from read_text('{secret}')",
        "select * from '{secret}'",
        "select * from glob('{folder}/*')",
        "select * from read_parquet('{folder}/*.parquet')",
        "copy tokens to '{folder}/out.csv'",
        "copy (select 1) to '{folder}/out.parquet' (format parquet)",
        "export database '{folder}/out'",
        "attach '{folder}/out.db'",
        "install httpfs",
        "load '{secret}'",
        "set enable_external_access = true",
        "reset lock_configuration",
        "pragma enable_object_cache",
        "call pragma_version()",
        "create table t as select 1",
        "drop view tokens",
        "insert into tokens select * from tokens",
        "with made as (insert into t values (1) returning *) select * from made",
        "select 1; select 2",
        "select 1; copy tokens to '{folder}/out.csv'",
        "",
        "-- nothing",
    ],
)
def test_what_is_refused(query: Query, tmp_path: Path, sql: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("secret\nvalue\n")
    with pytest.raises(ValueError, match=r"\w") as error:
        query.table(sql.format(secret=secret, folder=tmp_path))
    assert "\n" not in str(error.value) and "value" not in str(error.value).replace("VALUE", "")
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]
    assert query.table("select count(*) as n from tokens")["n"].to_pylist() == [NUM_TOKENS]


def test_variables_of_python_are_no_tables(query: Query) -> None:
    hidden = pa.table({"x": [1]})
    with pytest.raises(ValueError, match="hidden does not exist"):
        query.table("select * from hidden")
    assert hidden.num_rows == 1


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select * from token", "Table with name token does not exist"),
        ("select l9h9 from chi", 'column "l9h9" not found'),
        ("selec 1", 'syntax error at or near "selec"'),
        ("select\n  cast(text as int)\nfrom tokens", "Could not convert string"),
        ("select error('at row ' || token_id) from tokens where token_id > 300", "at row 301"),
    ],
)
def test_errors_in_one_line(query: Query, sql: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as error:
        query.table(sql)
    assert told in str(error.value) and "\n" not in str(error.value)
    if "not" in told and "convert" not in told:
        assert "; tables: chi, clusters, components, members, tokens, vocabulary" in str(
            error.value
        )


def test_a_budget_of_memory(made: Store) -> None:
    limits = Limits(memory_gib=0.02)
    with Query(RunView(made.uri), limits=limits) as query:
        with pytest.raises(ValueError, match=r"query\.limits\.memory_gib is 0\.02"):
            query.table("select list(i) from range(20000000) t(i)")
        asked = query.table("select current_setting('threads') as t")["t"].to_pylist()
        assert asked == [1]


@pytest.mark.parametrize("wrong", [{"memory_gib": 0.0}, {"threads": 0}])
def test_limits_refuse(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"query.limits.{next(iter(wrong))} must be"):
        Limits(**wrong)


def test_without_clusters_control_summary_and_vocabulary(tmp_path: Path) -> None:
    store = make_run(tmp_path / "run", text(2, 1))
    with Query(RunView(store.uri)) as query:
        assert set(query.tables) == {"tokens", "chi", "components", "vocabulary"}
        rows = query.table("select distinct text, cluster_id from tokens").to_pylist()
        assert rows == [{"text": None, "cluster_id": None}]
        assert query.table("select * from vocabulary").num_rows == 0
        parts = query.table("select component, layer, head, reliability from components")
        assert parts.to_pylist()[2] == {
            "component": "l0h2", "layer": 0, "head": 2, "reliability": None,
        }  # fmt: skip


def test_a_control(made: Store, tmp_path: Path) -> None:
    shutil.copytree(made.root, tmp_path / "run")
    control = tmp_path / "run/control"
    control.mkdir()
    for name in ("susceptibilities", "assembly", "clusters"):
        shutil.copytree(Path(made.root) / name, control / name)
    shutil.copy(Path(made.root) / run_dir.NAME, control)
    with Query(RunView(str(tmp_path / "run"))) as query:
        gap = query.table(
            "select max(abs(t.l0h1 - c.l0h1)) as gap, count(*) as n "
            "from chi t join control_chi c using (token_id)"
        )
        assert gap.to_pylist() == [{"gap": 0.0, "n": NUM_TOKENS}]
        assert "control_clusters" in query.tables and "control_members" in query.tables
    with Query(RunView(str(control))) as query:
        assert not [name for name in query.tables if name.startswith("control")]


def test_a_run_that_goes_on(made: Store, tmp_path: Path) -> None:
    """Rows without their marker are not measured yet."""
    shutil.copytree(made.root, tmp_path / "run")
    (tmp_path / "run/assembly/part-00001.json").unlink()
    with Query(RunView(str(tmp_path / "run"))) as query:
        found = query.table("select distinct token_id // 160 as shard from tokens order by 1")
        assert found["shard"].to_pylist() == [0, 2]
    (tmp_path / "run/susceptibilities/part-00002.parquet").unlink()  # lost, not unmeasured
    with pytest.raises(FileNotFoundError, match=r"part-00002\.parquet does not exist"):
        Query(RunView(str(tmp_path / "run")))
    (tmp_path / "run/assembly/part-00002.json").unlink()
    (tmp_path / "run/assembly/part-00000.json").unlink()
    with pytest.raises(ValueError, match="no susceptibilities yet"):
        RunView(str(tmp_path / "run"))
