"""Half estimates beside the rows: put once, described by the shard's JSON, read back."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spectro.formats.halves import (
    NoHalvesError,
    halves_table,
    iterate_halves,
    read_half,
    read_half_with_response,
    read_halves,
)
from spectro.formats.product import (
    ShardRows,
    halves_name,
    iterate_product,
    moments_name,
    part_name,
    put_part,
    read_moments,
    read_product,
    shard_table,
)
from spectro.formats.shard_file import read_head, to_bytes
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import DamagedObjectError, Store

COMPONENTS = ("l0h0", "embed", "unembed")
CONTEXT = 5


def has_halves(store: Store, num_shards: int) -> bool:
    return all("halves" in told for told in read_moments(store, num_shards))


def part(shard: int, num: int = 4, fingerprint: str = "abc", seed: int = 0) -> pa.Table:
    rng = np.random.default_rng([shard, seed])
    return shard_table(
        ShardRows(
            ids_nT1=rng.integers(0, 50, (num, CONTEXT + 1)),
            sequence_id_n=np.arange(4 * shard, 4 * shard + num),
            subset_n=np.arange(num) % 2,
            subset_names=("code", "prose"),
            values={
                "loss": rng.random(num * CONTEXT),
                "full_response": rng.standard_normal(num * CONTEXT),
                "chi": rng.standard_normal((num * CONTEXT, len(COMPONENTS))),
            },
        ),
        COMPONENTS,
        fingerprint,
        {"num_tokens": 9},
    )


def estimates(shard: int, num: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([shard, seed, 1])
    first, second = rng.standard_normal((2, num * CONTEXT, len(COMPONENTS)))
    return first, second


def halves(shard: int, seed: int = 0) -> pa.Table:
    return halves_table(part(shard, seed=seed), {"chi": estimates(shard, seed=seed)})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path))
    for shard in range(2):
        put_part(store, shard, part(shard), {}, halves(shard))
    return store


def contents(store: Store) -> dict[str, bytes]:
    return {name: store.read(name) for name in store.list()}


def test_schema_metadata_and_encodings_are_those_of_the_rows(store: Store) -> None:
    schema = pq.read_schema(Path(store.root) / halves_name(1))
    assert [(f.name, str(f.type)) for f in schema] == [
        ("token_id", "int64"),
        ("chi_first", "fixed_size_list<element: float>[3]"),
        ("chi_second", "fixed_size_list<element: float>[3]"),
    ]
    assert read_head(store, halves_name(1)) == read_head(store, part_name(1))
    group = pq.ParquetFile(Path(store.root) / halves_name(1)).metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    split = [c.path_in_schema for c in columns if "BYTE_STREAM_SPLIT" in c.encodings]
    assert split == ["chi_first.list.element", "chi_second.list.element"]


def test_they_are_read_alone_by_half_and_in_order(store: Store) -> None:
    assert has_halves(store, 2)
    streamed = list(iterate_halves(store, 2))
    for shard, rows in enumerate(iterate_product(store)):
        found, expected = read_halves(store, shard), estimates(shard)
        assert found.components == COMPONENTS
        assert found.fingerprint == "abc"
        assert np.array_equal(found.token_id_N, rows.column("token_id"))
        assert np.array_equal(found.chi_first_NH, expected[0].astype("f4"))
        assert np.array_equal(found.chi_second_NH, expected[1].astype("f4"))
        assert np.array_equal(read_half(store, shard, 0), found.chi_first_NH)
        assert np.array_equal(read_half(store, shard, 1), found.chi_second_NH)
        assert np.array_equal(streamed[shard].chi_second_NH, found.chi_second_NH)
        assert np.array_equal(streamed[shard].token_id_N, found.token_id_N)


def test_halves_join_rows(store: Store) -> None:
    """Both folders are a table each."""
    assert len(read_product(store).chi_NH) == 40
    query = (
        "select count(*), sum(chi_first[1] - p.chi[1])::double from "
        f"'{store.root}/susceptibilities/*.parquet' p join "
        f"'{store.root}/halves/*.parquet' h using (token_id)"
    )
    count, shift = duckdb.sql(query).fetchall()[0]
    product = read_product(store)
    first = np.concatenate([half.chi_first_NH for half in iterate_halves(store, 2)])
    expected = (first[:, 0] - product.chi_NH[:, 0]).astype(np.float64).sum()
    assert count == 40
    assert shift == pytest.approx(expected, abs=1e-5)


def test_without_them_everything_else_is_as_before(store: Store) -> None:
    """One chain, run.keep_halves=false, or a run of an earlier version."""
    put_part(store, 2, part(2), {"seconds": 1.0})
    assert not store.exists(halves_name(2))
    assert "halves" not in read_sealed(store, moments_name(2))
    assert len(read_product(store).chi_NH) == 60
    assert (has_halves(store, 2), has_halves(store, 3)) == (True, False)
    with pytest.raises(NoHalvesError, match=r"no χ of the halves of its chains for shard 2: "):
        read_halves(store, 2)


def test_a_second_writer_of_the_same_shard_changes_nothing(store: Store) -> None:
    """Also one with other last bits (split brain): the first objects stand and are described."""
    before = contents(store)
    put_part(store, 1, part(1), {"seconds": 2.0}, halves(1))
    put_part(store, 1, part(1, seed=7), {"seconds": 3.0}, halves(1, seed=7))
    put_part(store, 1, part(1), {"seconds": 4.0})  # run.keep_halves=false
    assert contents(store) == before


def test_of_two_writers_that_cross_what_stands_is_described(tmp_path: Path) -> None:
    """One put its rows, the other its half estimates; whoever tells last tells of both."""
    store = Store(str(tmp_path))
    store.put(part_name(0), to_bytes(part(0)))
    store.put(halves_name(0), to_bytes(halves(0, seed=7)))
    put_part(store, 0, part(0, seed=3), {}, halves(0, seed=3))
    assert np.array_equal(read_halves(store, 0).chi_first_NH, estimates(0, seed=7)[0].astype("f4"))
    assert np.array_equal(read_product(store).chi_NH, _chi(part(0)))


def test_half_estimates_of_a_writer_that_died_are_taken_up(tmp_path: Path) -> None:
    """Also by an invocation that would have made none: what lies there is described."""
    store = Store(str(tmp_path))
    store.put(part_name(0), to_bytes(part(0)))
    store.put(halves_name(0), to_bytes(halves(0)))
    put_part(store, 0, part(0), {})
    assert has_halves(store, 1)
    assert len(read_halves(store, 0).chi_first_NH) == 20


@pytest.mark.parametrize("lost", [part_name(1), halves_name(1)])
def test_what_was_lost_and_made_again_is_described_anew(store: Store, lost: str) -> None:
    store.delete(lost)
    put_part(store, 1, part(1, seed=7), {}, halves(1, seed=7))
    seeds = {part_name(1): (7, 0), halves_name(1): (0, 7)}[lost]
    assert np.array_equal(list(iterate_product(store))[1].chi_NH, _chi(part(1, seed=seeds[0])))
    expected = estimates(1, seed=seeds[1])[1].astype("f4")
    assert np.array_equal(read_half(store, 1, 1), expected)


def test_a_writer_without_them_does_not_promise_those_that_were_lost(store: Store) -> None:
    store.delete(halves_name(1))
    put_part(store, 1, part(1), {})
    assert not has_halves(store, 2)
    assert len(read_product(store).chi_NH) == 40


def test_damage_and_loss_are_noticed(store: Store) -> None:
    path = Path(store.root) / halves_name(0)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for read in (lambda: read_halves(store, 0), lambda: read_half(store, 0, 1)):
        with pytest.raises(DamagedObjectError, match=r"halves/part-00000\.parquet is damaged"):
            read()
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"halves/part-00000\.parquet does not exist"):
        read_halves(store, 0)


def test_shards_of_two_runs_are_refused(store: Store) -> None:
    other = part(2, fingerprint="of another")
    put_part(store, 2, other, {}, halves_table(other, {"chi": estimates(2)}))
    with pytest.raises(ValueError, match=r"halves/part-00002.*another spectro\.fingerprint"):
        list(iterate_halves(store, 3))


def test_an_empty_shard_has_empty_halves(tmp_path: Path) -> None:
    store, empty = Store(str(tmp_path)), part(0, num=0)
    put_part(store, 0, empty, {}, halves_table(empty, {"chi": estimates(0, num=0)}))
    assert read_half(store, 0, 0).shape == (0, 3)
    assert read_product(store).chi_NH.shape == (0, 3)


def test_the_response_has_its_halves_too(store: Store) -> None:
    """B of the unrestricted chains, beside χ; the schema has two columns more."""
    rng = np.random.default_rng(2)
    first_N, second_N = rng.standard_normal((2, 4 * CONTEXT))
    table = halves_table(part(2), {"chi": estimates(2), "full_response": (first_N, second_N)})
    assert table.column_names[3:] == ["response_first", "response_second"]
    put_part(store, 2, part(2), {}, table)
    found = read_halves(store, 2)
    assert found.responses is not None
    assert np.array_equal(found.responses[0], first_N.astype("f4"))
    assert np.array_equal(found.responses[1], second_N.astype("f4"))
    chi_NH, response_N = read_half_with_response(store, 2, 1)
    assert np.array_equal(chi_NH, estimates(2)[1].astype("f4"))
    assert np.array_equal(response_N, second_N.astype("f4"))
    plain = pq.ParquetFile(Path(store.root) / halves_name(2)).metadata.row_group(0).column(3)
    assert "BYTE_STREAM_SPLIT" in plain.encodings


def test_halves_without_a_response_say_so(store: Store) -> None:
    assert read_halves(store, 0).responses is None
    with pytest.raises(NoHalvesError, match=r"not their B for shard 0: .*preprocess=standardise"):
        read_half_with_response(store, 0, 1)


def test_a_response_of_other_rows_or_not_finite_is_refused() -> None:
    good = np.zeros(4 * CONTEXT)
    with pytest.raises(ValueError, match="response_second is 19, its shard's rows are 20"):
        halves_table(part(0), {"chi": estimates(0), "full_response": (good, good[1:])})
    with pytest.raises(ValueError, match=r"response_first has values that are not finite"):
        halves_table(part(0), {"chi": estimates(0), "full_response": (good + np.nan, good)})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    first, second = estimates(0)
    second[3, 1] = bad
    with pytest.raises(ValueError, match=r"chi_second has values.*run\.keep_halves=false"):
        halves_table(part(0), {"chi": (first, second)})


def test_other_rows_or_columns_are_refused() -> None:
    first, second = estimates(0)
    with pytest.raises(ValueError, match="chi_first is 19 × 3, its shard's rows are 20 × 3"):
        halves_table(part(0), {"chi": (first[1:], second)})
    with pytest.raises(ValueError, match=r"chi_second is 20 × 2.*were tiles of two runs mixed"):
        halves_table(part(0), {"chi": (first, second[:, 1:])})


def test_the_json_of_an_earlier_version_is_read(store: Store) -> None:
    told = read_sealed(store, moments_name(1))
    store.delete(moments_name(1))
    store.put(moments_name(1), seal({"part": told["part"]}))
    assert len(read_product(store).chi_NH) == 40
    assert not has_halves(store, 2)


def _chi(table: pa.Table) -> np.ndarray:
    return np.array(table["chi"].to_pylist(), np.float32)
