"""The product, written here, read back by pyarrow, pandas and duckdb."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spectro.formats.product import (
    LABELS,
    ShardRows,
    iterate_product,
    moments_name,
    part_name,
    put_part,
    read_chi,
    read_labels,
    read_product,
    read_shard,
    shard_table,
)
from spectro.formats.shard_file import read_head, to_bytes
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import DamagedObjectError, Store

COMPONENTS = ["l0h0", "embed", "unembed"]


def rows(first: int = 0, num: int = 4, context: int = 5, seed: int = 0) -> ShardRows:
    rng = np.random.default_rng(seed)
    return ShardRows(
        ids_nT1=rng.integers(0, 50, (num, context + 1)),
        sequence_id_n=np.arange(first, first + num),
        subset_n=np.arange(num) % 2,
        subset_names=("code", "prose"),
        values={
            "loss": rng.random(num * context),
            "full_response": rng.standard_normal(num * context),
            "chi": rng.standard_normal((num * context, len(COMPONENTS))),
        },
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    store = Store(str(tmp_path))
    for shard, first in enumerate((0, 4)):
        table = shard_table(rows(first, seed=shard), COMPONENTS, "abc", {"num_tokens": 20})
        store.put(part_name(shard), to_bytes(table))
    return tmp_path


def test_schema_is_that_of_the_design(written: Path) -> None:
    schema = pq.read_schema(written / part_name(0))
    assert [(f.name, str(f.type)) for f in schema] == [
        ("token_id", "int64"),
        ("sequence_id", "int32"),
        ("position", "int16"),
        ("subset", "dictionary<values=string, indices=int32, ordered=0>"),
        ("token", "int32"),
        ("loss", "float"),
        ("full_response", "float"),
        ("chi", f"fixed_size_list<element: float>[{len(COMPONENTS)}]"),
    ]
    assert json.loads(schema.metadata[b"spectro.components"]) == COMPONENTS
    assert schema.metadata[b"spectro.fingerprint"] == b"abc"


def test_floats_are_byte_stream_split_and_everything_is_zstd(written: Path) -> None:
    group = pq.ParquetFile(written / part_name(0)).metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    for name in ("loss", "full_response", "chi.list.element"):
        assert "BYTE_STREAM_SPLIT" in columns[name].encodings, name
    assert {column.compression for column in columns.values()} == {"ZSTD"}


def test_rows_by_pyarrow(written: Path) -> None:
    expected = rows()
    table = pq.read_table(written / part_name(0))
    assert np.array_equal(table["token_id"], np.arange(20))
    assert np.array_equal(table["position"], np.tile(np.arange(5), 4))
    assert np.array_equal(table["token"], expected.ids_nT1[:, 1:].ravel())
    assert table["subset"].to_pylist()[:6] == ["code"] * 5 + ["prose"]
    chi = np.array(table["chi"].to_pylist(), np.float32)
    assert np.array_equal(chi, expected.values["chi"].astype(np.float32))


def test_rows_by_pandas_and_duckdb(written: Path) -> None:
    expected = rows()
    frame = pd.read_parquet(written / part_name(0))
    assert np.array_equal(np.stack(frame["chi"]), expected.values["chi"].astype(np.float32))
    query = (
        "select subset, count(*) as n, sum(chi[2])::double as second "
        f"from '{written}/susceptibilities/part-*.parquet' group by subset order by subset"
    )
    found = duckdb.sql(query).fetchall()
    assert [(name, n) for name, n, _ in found] == [("code", 20), ("prose", 20)]
    both = np.concatenate([rows(seed=s).values["chi"][:, 1] for s in (0, 1)]).astype(np.float32)
    assert sum(second for *_, second in found) == pytest.approx(both.sum(), rel=1e-5)


def test_all_shards_are_read_in_order(written: Path) -> None:
    product = read_product(Store(str(written)))
    assert product.components == tuple(COMPONENTS)
    assert np.array_equal(product.column("token_id"), np.arange(40))
    expected = np.concatenate([rows(seed=s).values["chi"] for s in (0, 1)]).astype(np.float32)
    assert np.array_equal(product.chi_NH, expected)
    assert read_head(Store(str(written)), part_name(1)).summary == {"num_tokens": 20}


def test_shards_with_more_subsets_are_joined_and_streamed(written: Path) -> None:
    """What was added to a run may bring new subsets; every row keeps its own."""
    store = Store(str(written))
    later = replace(
        rows(8), subset_names=("code", "prose", "verse"), subset_n=np.array([2, 0, 2, 1])
    )
    put_part(store, 2, shard_table(later, COMPONENTS, "abc", {}), {"moments": {"x": float("nan")}})
    product = read_product(store)
    subset = product.table["subset"].to_pylist()
    assert subset[:10] == ["code"] * 5 + ["prose"] * 5
    assert subset[40::5] == ["verse", "code", "verse", "prose"]
    dictionary = product.table["subset"].combine_chunks().dictionary.to_pylist()
    assert dictionary == ["code", "prose", "verse"]
    streamed = list(iterate_product(store))
    assert [len(shard.chi_NH) for shard in streamed] == [20, 20, 20]
    assert np.array_equal(np.concatenate([s.chi_NH for s in streamed]), product.chi_NH)
    assert len(read_product(store, 2).chi_NH) == 40


def test_a_shard_is_read_alone_and_by_columns(written: Path) -> None:
    store = Store(str(written))
    put_part(store, 2, shard_table(rows(8, num=3), COMPONENTS, "abc", {}), {})
    whole = list(iterate_product(store))
    for shard, expected in enumerate(whole):
        alone = read_shard(store, shard)
        assert alone.table.equals(expected.table)
        assert alone.table.column_names == list(LABELS)
        assert np.array_equal(alone.chi_NH, expected.chi_NH)
        assert np.array_equal(read_chi(store, shard), expected.chi_NH)
        assert read_chi(store, shard).dtype == np.float32
        assert read_labels(store, shard).equals(expected.table)
    some = read_labels(store, 2, ["token_id", "token"])
    assert set(some.column_names) == {"token_id", "token"}
    loss = read_product(store, labels=["loss"])
    assert loss.table.column_names == ["loss"]
    assert np.array_equal(loss.chi_NH, np.concatenate([shard.chi_NH for shard in whole]))


def test_columns_are_checked_too(written: Path) -> None:
    store = Store(str(written))
    put_part(store, 2, shard_table(rows(8), COMPONENTS, "abc", {}), {})
    path = written / part_name(2)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for read in (read_shard, read_chi, read_labels):
        with pytest.raises(DamagedObjectError, match=r"part-00002\.parquet is damaged"):
            read(store, 2)
    with pytest.raises(FileNotFoundError, match=r"part-00009\.parquet does not exist"):
        read_chi(store, 9)


def test_rows_are_checked_against_what_is_told_of_them(written: Path) -> None:
    store, table = Store(str(written)), shard_table(rows(8), COMPONENTS, "abc", {})
    put_part(store, 2, table, {"seconds": 1.0})
    put_part(store, 2, table, {"seconds": 2.0})
    assert read_sealed(store, moments_name(2))["seconds"] == 1.0
    other = to_bytes(shard_table(rows(8, seed=7), COMPONENTS, "abc", {}))
    store.delete(part_name(2))
    store.put(part_name(2), other)
    with pytest.raises(DamagedObjectError, match=r"part-00002\.parquet is damaged"):
        read_product(store)
    # rows that were lost and made again with other last bits: they are described anew
    put_part(store, 2, table, {"seconds": 3.0})
    assert read_sealed(store, moments_name(2))["seconds"] == 3.0
    assert np.array_equal(
        read_product(store).chi_NH[40:], rows(8, seed=7).values["chi"].astype("f4")
    )


def test_the_same_rows_give_the_same_bytes() -> None:
    table = shard_table(rows(), COMPONENTS, "abc", {})
    assert to_bytes(table) == to_bytes(shard_table(rows(), COMPONENTS, "abc", {}))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    good = rows()
    chi = good.values["chi"].copy()
    chi[3, 1] = bad
    with pytest.raises(ValueError, match="chi has values that are not finite"):
        shard_table(replace(good, values=good.values | {"chi": chi}), COMPONENTS, "abc", {})


def test_wrong_width_is_refused() -> None:
    with pytest.raises(ValueError, match="were tiles of two runs mixed"):
        shard_table(rows(), COMPONENTS[:2], "abc", {})


def test_missing_foreign_and_mixed_products_are_refused(written: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no susceptibilities"):
        read_product(Store(str(tmp_path / "empty")))
    store = Store(str(written))
    store.put(part_name(2), to_bytes(shard_table(rows(8), COMPONENTS, "other", {})))
    with pytest.raises(ValueError, match=r"another spectro\.fingerprint"):
        read_product(store)
    store.delete(part_name(2))
    store.put(part_name(2), b"PAR1 no")
    with pytest.raises(ValueError, match="is not a Parquet file"):
        read_product(store)
    store.delete(part_name(2))
    pq.write_table(pa.table({"x": [1]}), written / part_name(2))
    with pytest.raises(ValueError, match="was it written by spectro"):
        read_product(store)
