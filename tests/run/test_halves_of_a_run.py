"""Half estimates of a whole tiny run: one chain each, and left out where they are not wanted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from spectro.formats.chain_records import read_record
from spectro.formats.halves import iterate_halves
from spectro.formats.product import read_moments, read_product
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from tests.conftest import FinishRun, MakeConfig
from tests.run.test_pipeline import CHI, chi_bytes, run

GROUPS = ("embed", "l0", "l1", "unembed")


def test_halves_are_estimates_of_one_chain_each(
    make_config: MakeConfig, finish_run: FinishRun, tmp_path: Path
) -> None:
    """Of two chains: the first half is the run of one chain, which has no halves itself.

    Halves average to χ but for ¼ ΔE[φ] Δr: a known number per component times one vector of the
    tokens. Differences are of float32: five roundings of half an ulp each.
    """
    config, alone = make_config(tmp_path / "two"), make_config(tmp_path / "one")
    alone = dataclasses.replace(alone, chain=dataclasses.replace(alone.chain, num_chains=1))
    finish_run(config)
    finish_run(alone)
    store, of_one = Store(config.run.uri), Store(alone.run.uri)
    product, single = read_product(store), read_product(of_one)
    assert not any("halves" in told for told in read_moments(of_one, 2))
    assert not [name for name in of_one.list() if "halves" in name]
    halves = list(iterate_halves(store, 2))
    first, second = (
        np.concatenate([getattr(h, f"chi_{which}_NH") for h in halves]).astype(np.float64)
        for which in ("first", "second")
    )
    assert np.array_equal(
        np.concatenate([h.token_id_N for h in halves]), product.column("token_id")
    )
    scale = single.chi_NH.std()
    assert np.allclose(first, single.chi_NH, rtol=0, atol=2e-5 * scale)
    assert np.abs(first - second).max() > 0.1 * scale
    records = [read_record(store, group, chain) for group in GROUPS for chain in (0, 1)]
    phi = {name: [] for name in product.components}
    for record in records:
        for name, component in record.components.items():
            phi[name].append(component.delta_loss.mean())
    shift_H = np.array([phi[name][0] - phi[name][1] for name in product.components])
    rest_NH = (first + second) / 2 - product.chi_NH
    largest = np.abs(shift_H).argmax()
    expected_NH = np.outer(rest_NH[:, largest] / shift_H[largest], shift_H)
    rounding = 5 * np.finfo(np.float32).eps * np.abs([first, second]).max()
    assert np.abs(rest_NH).max() > 10 * rounding
    assert np.allclose(rest_NH, expected_NH, rtol=0, atol=rounding)


def test_halves_are_left_out_if_asked_and_not_made_later(
    make_config: MakeConfig, finish_run: FinishRun, tmp_path: Path
) -> None:
    plain = make_config(tmp_path / "plain")
    without = make_config(tmp_path / "without")
    without = dataclasses.replace(without, run=dataclasses.replace(without.run, keep_halves=False))
    finish_run(plain)
    finish_run(without)
    store = Store(without.run.uri)
    assert not [name for name in store.list() if "halves" in name]
    assert "halves" not in read_sealed(store, "assembly/part-00000.json")
    rows = [name for name in CHI if "susceptibilities" in name]
    assert [store.read(name) for name in rows] == [Store(plain.run.uri).read(n) for n in rows]
    again = dataclasses.replace(without.run, keep_halves=True)
    assert run(dataclasses.replace(without, run=again)).num_units == 0
    store.delete("assembly/part-00001.json")  # a shard that is measured again has them
    run(dataclasses.replace(without, run=again))
    assert chi_bytes(plain)[3] == store.read("halves/part-00001.parquet")
    assert not all("halves" in told for told in read_moments(store, 2))
