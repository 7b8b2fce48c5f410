"""Columns of a run come in the order of `components`, and everything that is said of them too."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spectro.config import PipelineConfig
from spectro.formats.halves import iterate_halves
from spectro.formats.product import read_product
from spectro.formats.shard_file import metadata_of, read_columns, to_bytes
from spectro.pipeline.run import Goal, run_pipeline
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import ObjectInfo, Store
from spectro.views.query.query import Query
from spectro.views.run_view import RunView
from spectro.work.errors import UnitError
from spectro.work.progress import Progress

MakeConfig = Callable[..., PipelineConfig]


def run(config: PipelineConfig) -> None:
    run_pipeline(config, Progress(), goal=Goal.SAMPLE)


def test_columns_come_in_the_order_asked_for(make_config: MakeConfig, tmp_path: Path) -> None:
    """Another order permutes the columns, and all that is said of them, and nothing else."""
    orders = (["embed", "l0h1", "l1*"], ["l1mlp", "embed", "l1*", "l0h1"])
    configs = [
        make_config(tmp_path / str(n), components=names, control=True)
        for n, names in enumerate(orders)
    ]
    for config in configs:
        run(config)
    place = [4, 0, 2, 3, 1]
    for part in ("", "control"):
        first, second = stores = [Store(config.run.uri).child(part) for config in configs]
        plain, permuted = (read_product(store) for store in stores)
        assert plain.components == ("embed", "l0h1", "l1h0", "l1h1", "l1mlp")
        assert permuted.components == ("l1mlp", "embed", "l1h0", "l1h1", "l0h1")
        assert np.array_equal(permuted.chi_NH, plain.chi_NH[:, place])
        for a, b in zip(iterate_halves(first, 2), iterate_halves(second, 2), strict=True):
            assert b.components == permuted.components
            assert np.array_equal(b.chi_first_NH, a.chi_first_NH[:, place])
            assert np.array_equal(b.chi_second_NH, a.chi_second_NH[:, place])
        before, after = (read_sealed(store, "assembly/summary.json") for store in stores)
        assert after["components"] == list(permuted.components)
        for key in (
            "reliability",
            "standard_error",
            "half_width_95",
            "mean_phi",
            "rhat",
            "effective_sample_size",
        ):
            assert after[key] == [before[key][column] for column in place], key
        known = [before["centred_reliability"][column] for column in place]
        assert np.allclose(after["centred_reliability"], known, rtol=1e-9)  # mean over columns
        with Query(RunView(second.uri)) as query:
            found = query.table("select c.*, t.chi from chi c join tokens t using (token_id)")
            told = query.table("select * from components order by place")
        assert np.array_equal(np.array(found["chi"].to_pylist(), "f4"), permuted.chi_NH)
        for column, name in enumerate(permuted.components):
            assert np.array_equal(found[name].to_numpy(), permuted.chi_NH[:, column])
        assert told["component"].to_pylist() == list(permuted.components)
        assert told["reliability"].to_pylist() == after["reliability"]
        assert np.allclose(told["half_width_95"], after["half_width_95"], rtol=1e-12)
        assert set(told["num_chains"].to_pylist()) == {configs[1].chain.num_chains}


def test_shards_with_columns_in_another_order_are_refused(make_config: MakeConfig) -> None:
    """As of two versions that order them otherwise: neither χ nor the summary mixes them."""
    config = make_config(components=["embed", "l0h1", "l1*"])
    run(config)
    store = Store(config.run.uri)
    name = "susceptibilities/part-00001.parquet"
    head, table = read_columns(store, name, None)
    swapped = metadata_of(head.components[::-1], head.fingerprint, head.summary)
    data = to_bytes(table.replace_schema_metadata(swapped))
    told = read_sealed(store, "assembly/part-00001.json")
    columns = dict(reversed(told["moments"].items()))
    part = dataclasses.asdict(ObjectInfo.of(data))
    store.delete_many([name, "assembly/part-00001.json", "assembly/summary.json"])
    store.put(name, data)
    store.put("assembly/part-00001.json", seal({**told, "moments": columns, "part": part}))
    with pytest.raises(ValueError, match=r"part-00001\.parquet has other columns than"):
        RunView(store.uri).chi(np.arange(150, 160))
    with pytest.raises(UnitError, match="in another order"):
        run(config)
