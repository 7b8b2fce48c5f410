"""The folder of the product, given to readers as one table: each token once (ADR 060)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as arrow_dataset
import pytest

from spectro.formats import run_dir
from spectro.formats.derived_objects import put_derived
from spectro.formats.halves import halves_table
from spectro.formats.product import (
    FOLDER,
    HALVES,
    LABELS,
    SUMMARY_NAME,
    ShardRows,
    halves_name,
    moments_name,
    part_name,
    put_part,
    read_product,
    refuse_earlier_layout,
    shard_table,
)
from spectro.storage.store import Store

CONTEXT, PER_SHARD, NUM_SHARDS = 5, 4, 3
COMPONENTS = ["embed", "l0h1", "l1mlp"]
COLUMNS = [*LABELS, "chi"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All objects of a measurement with halves; the last shard knows a subset that others do not,
    as tokens do that are added. A writer that died has left its file."""
    folder = tmp_path_factory.mktemp("product") / "run"
    store = Store(str(folder))
    run_dir.start(store, {}, {"seed": 0})
    for shard in range(NUM_SHARDS):
        table = shard_table(_rows(shard), COMPONENTS, "f", {"num_tokens": 20 * (shard + 1)})
        chi = np.array(table["chi"].to_pylist(), np.float32)
        put_part(
            store, shard, table, {"seconds": 1.0}, halves_table(table, {"chi": (chi + 1, chi - 1)})
        )
    put_derived(store, SUMMARY_NAME, {"reliability": [1.0]}, "probe")
    (folder / FOLDER / ".tmp-0123456789abcdef").write_bytes(b"PAR1 half a fi")
    return folder


def _rows(shard: int) -> ShardRows:
    rng = np.random.default_rng(shard)
    num_tokens = PER_SHARD * CONTEXT
    return ShardRows(
        ids_nT1=rng.integers(0, 50, (PER_SHARD, CONTEXT + 1)),
        sequence_id_n=np.arange(PER_SHARD) + PER_SHARD * shard,
        subset_n=np.array([0, 1, 0, 2 if shard == 2 else 1]),
        subset_names=("arxiv", "github", "later")[: 3 if shard == 2 else 2],
        values={
            "loss": rng.random(num_tokens),
            "full_response": rng.random(num_tokens),
            "chi": rng.normal(size=(num_tokens, len(COMPONENTS))),
        },
    )


def with_pandas(folder: str, _: Path) -> pd.DataFrame:
    return pd.read_parquet(folder)


def with_arrow(folder: str, _: Path) -> pd.DataFrame:
    return arrow_dataset.dataset(folder).to_table().to_pandas()


def with_arrow_format(folder: str, _: Path) -> pd.DataFrame:
    return arrow_dataset.dataset(folder, format="parquet").to_table().to_pandas()


def with_duckdb(folder: str, _: Path) -> pd.DataFrame:
    return duckdb.sql(f"select * from read_parquet('{folder}')").df()


def with_duckdb_glob(folder: str, _: Path) -> pd.DataFrame:
    return duckdb.sql(f"select * from '{folder}/*.parquet'").df()


def with_datasets(folder: str, cache: Path) -> pd.DataFrame:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset("parquet", data_dir=folder, cache_dir=str(cache))
    assert list(loaded) == ["train"]  # no file name says another split
    return loaded["train"].to_pandas()


def with_polars(folder: str, _: Path) -> pd.DataFrame:
    polars = pytest.importorskip("polars", reason="polars is no dependency of spectro")
    frame = polars.read_parquet(folder)
    return pd.DataFrame({name: frame[name].to_list() for name in frame.columns})


READERS = [
    with_pandas, with_arrow, with_arrow_format, with_duckdb, with_duckdb_glob, with_datasets,
    with_polars,
]  # fmt: skip


@pytest.mark.parametrize("read", READERS)
def test_each_token_is_read_once(
    run: Path, tmp_path: Path, read: Callable[[str, Path], pd.DataFrame]
) -> None:
    found = read(str(run / FOLDER), tmp_path).sort_values("token_id", ignore_index=True)
    assert list(found.columns) == COLUMNS
    expected = read_product(Store(str(run)))
    assert np.array_equal(found["token_id"], np.arange(NUM_SHARDS * PER_SHARD * CONTEXT))
    assert np.array_equal(np.stack(found["chi"]).astype(np.float32), expected.chi_NH)
    assert np.array_equal(found["token"], expected.column("token"))
    assert np.array_equal(found["loss"].astype(np.float32), expected.column("loss"))
    assert found["subset"].astype(str).tolist() == expected.table["subset"].to_pylist()
    assert found["subset"].astype(str).value_counts()["later"] == CONTEXT


def test_counting_needs_no_column(run: Path) -> None:
    """A count reads footers alone: files of other columns would be counted in without a word."""
    query = f"select count(*) from read_parquet('{run / FOLDER}')"
    assert duckdb.sql(query).fetchall() == [(NUM_SHARDS * PER_SHARD * CONTEXT,)]
    assert arrow_dataset.dataset(run / FOLDER).count_rows() == NUM_SHARDS * PER_SHARD * CONTEXT


def test_all_files_have_one_schema(run: Path) -> None:
    """Metadata apart: each has a summary of what was known when it was made."""
    dataset = arrow_dataset.dataset(run / FOLDER)
    schemas = [piece.physical_schema.remove_metadata() for piece in dataset.get_fragments()]
    assert len(schemas) == NUM_SHARDS
    assert all(schema == schemas[0] for schema in schemas)
    assert schemas[0].field("chi").type == pa.list_(pa.float32(), len(COMPONENTS))


def test_half_estimates_are_a_table_too(run: Path) -> None:
    found = pd.read_parquet(run / HALVES)
    assert list(found.columns) == ["token_id", "chi_first", "chi_second"]
    assert np.array_equal(np.sort(found["token_id"]), np.arange(NUM_SHARDS * PER_SHARD * CONTEXT))


@pytest.mark.parametrize("kind", ["halves", "marker", "summary"])
def test_a_run_of_the_earlier_layout_is_refused_with_what_to_do(
    run: Path, tmp_path: Path, kind: str
) -> None:
    """Each kind of file that lay beside the rows; moved as the message says, the run is whole."""
    shutil.copytree(run, tmp_path / "run")
    now, then = {
        "halves": (halves_name(1), f"{FOLDER}/halves-00001.parquet"),
        "marker": (moments_name(1), f"{FOLDER}/part-00001.json"),
        "summary": (SUMMARY_NAME, f"{FOLDER}/summary.json"),
    }[kind]
    (tmp_path / "run" / now).rename(tmp_path / "run" / then)
    store = Store(str(tmp_path / "run"))
    with pytest.raises(ValueError, match=rf"earlier version.*\({then}\): move .* to") as refused:
        run_dir.require(store)
    assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="earlier version"):  # before a driver does anything
        run_dir.check(store, {"seed": 0})
    (tmp_path / "run" / then).rename(tmp_path / "run" / now)
    refuse_earlier_layout(store)
    assert run_dir.require(store).inputs == {"seed": 0}


def test_rows_alone_are_no_earlier_layout(run: Path, tmp_path: Path) -> None:
    """As `Result.to_parquet` writes, and a run that ended before its first marker."""
    (tmp_path / FOLDER).mkdir()
    shutil.copy(run / part_name(0), tmp_path / part_name(0))
    refuse_earlier_layout(Store(str(tmp_path)))
