"""`Result` in the formats of others: round trips through files, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray

import spectro
from spectro.formats.product import read_product
from spectro.result.result import Result
from spectro.storage.store import Store
from spectro.susceptibility.interval import half_width

anndata = pytest.importorskip("anndata", reason="pip install 'spectro[anndata]'")
NUM_SEQUENCES, CONTEXT, COMPONENTS = 5, 4, ("embed", "l0h1", "l1mlp")
SUBSETS = ("prose", "code", "prose", "code", "prose")


@pytest.fixture
def result() -> Result:
    """Every value different, so that a wrong order shows."""
    rng = np.random.default_rng(0)
    shape = (NUM_SEQUENCES, CONTEXT)
    x = rng.random(shape).astype(np.float32)
    return Result(
        components=COMPONENTS,
        columns={
            "loss": rng.random(shape).astype(np.float32),
            "full_response": np.full(shape, np.nan, np.float32),
            "chi": rng.normal(size=(*shape, 3)).astype(np.float32),
            "standard_error": rng.random((*shape, 3)).astype(np.float32),
        },
        num_chains=4,
        summary={"components": list(COMPONENTS), "reliability": [0.5, None, 0.75]},
        probe_ids=rng.integers(0, 1000, (NUM_SEQUENCES, CONTEXT + 1)),
        labels={
            "subset": np.repeat(np.array(SUBSETS, object)[:, None], CONTEXT, axis=1),
            "cluster": rng.integers(-1, 3, shape).astype(np.int32),
            "map_x": np.where(x > 0.5, x, np.nan).astype(np.float32),
            "map_y": np.where(x > 0.5, 1 - x, np.nan).astype(np.float32),
        },
    )


def test_anndata_through_its_file(result: Result, tmp_path: Path) -> None:
    result.to_anndata().write_h5ad(tmp_path / "a.h5ad")
    found = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert list(found.var_names) == list(COMPONENTS)
    assert list(found.obs_names) == [str(n) for n in range(NUM_SEQUENCES * CONTEXT)]
    token_id = 2 * CONTEXT + 3  # sequence 2, position 3
    row = found.obs.iloc[token_id]
    assert (row["sequence"], row["position"], row["token"]) == (2, 3, result.probe_ids[2, 4])
    np.testing.assert_array_equal(found.X[token_id], result.chi[2, 3])
    np.testing.assert_array_equal(found.X.reshape(result.chi.shape), result.chi)
    error = found.layers["standard_error"].reshape(result.chi.shape)
    np.testing.assert_array_equal(error, result.standard_error)
    np.testing.assert_array_equal(found.obs["loss"], result.loss.reshape(-1))
    assert list(found.obs["subset"][::CONTEXT]) == list(SUBSETS)
    cluster = found.obs["cluster"].astype(float).fillna(-1).to_numpy()
    np.testing.assert_array_equal(cluster, result.labels["cluster"].reshape(-1))
    np.testing.assert_array_equal(found.obsm["X_map"][:, 0], result.labels["map_x"].reshape(-1))
    np.testing.assert_array_equal(found.var["reliability"], [0.5, np.nan, 0.75])
    assert found.uns["spectro"]["num_chains"] == 4


def test_xarray_through_its_file(result: Result, tmp_path: Path) -> None:
    made = result.to_xarray()
    made.to_zarr(tmp_path / "a.zarr")
    xarray.testing.assert_identical(xarray.open_zarr(tmp_path / "a.zarr").load(), made)
    one = made.sel(component="l0h1").isel(sequence=2, position=3)
    assert float(one.chi) == result.chi[2, 3, 1] and int(one.token) == result.probe_ids[2, 4]
    assert one.subset == "prose" and int(one.cluster) == result.labels["cluster"][2, 3]
    assert float(one.half_width) == pytest.approx(float(half_width(one.standard_error, 4)))


def test_devinterp_writes_the_same_tree(result: Result) -> None:
    """Against devinterp's own constructor, given its own intermediate arrays."""
    devinterp = pytest.importorskip("devinterp.slt.susceptibilities")
    parts = []
    for column, name in enumerate(COMPONENTS):
        for subset in sorted(set(SUBSETS)):
            own = [n for n, each in enumerate(SUBSETS) if each == subset]
            chi = xarray.DataArray(
                result.chi[own, :, column],
                dims=["batch", "target_position"],
                coords={"target_position": np.arange(1, CONTEXT + 1)},
            )
            ids = xarray.DataArray(
                result.probe_ids[own],
                dims=["batch", "position"],
                coords={"position": np.arange(CONTEXT + 1)},
            )
            with_batch = {"batch": np.arange(len(own))}
            parts.append(
                (name, subset, chi.assign_coords(with_batch), ids.assign_coords(with_batch))
            )
    xarray.testing.assert_identical(result.to_devinterp(), devinterp._build_output(parts))


def test_devinterp_and_back_through_its_file(result: Result, tmp_path: Path) -> None:
    result.to_devinterp().to_zarr(tmp_path / "sus.zarr")
    tree = xarray.open_datatree(tmp_path / "sus.zarr", engine="zarr").load()
    found = Result.from_devinterp(tree)
    order = [1, 3, 0, 2, 4]  # code, then prose
    assert found.components == COMPONENTS
    np.testing.assert_array_equal(found.chi, result.chi[order])
    np.testing.assert_array_equal(found.probe_ids, result.probe_ids[order])
    np.testing.assert_array_equal(found.labels["subset"], result.labels["subset"][order])
    # a token's y is at its target position, which is counted from 1
    sus, context = tree["susceptibilities"].ds, tree["context"].ds
    row = 6
    at = {key: int(sus[key][row]) for key in ("dataset_id", "batch", "target_position")}
    same = (context.dataset_id == at["dataset_id"]) & (context.batch == at["batch"])
    y = int(context.input_ids[same & (context.position == at["target_position"])][0])
    chi = sus.sus.values[row]
    sequence, position = np.argwhere((result.chi == chi).all(axis=-1))[0]
    assert y == result.probe_ids[sequence, position + 1]
    # what devinterp does not hold is not known
    assert np.isnan(found.loss).all() and np.isnan(found.reliability).all()
    assert np.isnan(found.half_width).all() and found.num_chains is None
    assert "standard_error" not in found.to_xarray()
    assert found.to_anndata().X.shape == (20, 3)


def test_rows_of_a_tree_may_come_in_any_order(result: Result) -> None:
    tree = result.to_devinterp()
    rng = np.random.default_rng(1)
    for group, dim in (("susceptibilities", "sus_flat"), ("context", "ctx_flat")):
        own = tree[group].to_dataset()
        tree[group].dataset = own.isel({dim: rng.permutation(own.sizes[dim])})
    again, straight = Result.from_devinterp(tree), Result.from_devinterp(result.to_devinterp())
    np.testing.assert_array_equal(again.chi, straight.chi)
    np.testing.assert_array_equal(again.probe_ids, straight.probe_ids)


def _cut(tree: xarray.DataTree, group: str, rows: dict[str, slice]) -> None:
    tree[group].dataset = tree[group].to_dataset().isel(rows)


def _without(tree: xarray.DataTree, group: str, coordinate: str) -> None:
    tree[group].dataset = tree[group].to_dataset().drop_vars(coordinate)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.__delitem__("context"), r"expected /context with input_ids"),
        (
            lambda t: _cut(t, "susceptibilities", {"sus_flat": slice(1, None)}),
            "expected one length",
        ),
        (lambda t: _cut(t, "susceptibilities", {"sus_flat": slice(4, None)}), "was the tree cut"),
        (
            lambda t: t["susceptibilities"].ds.target_position.values.__isub__(1),
            r"is not 1 to 4 in every sequence",
        ),
        (lambda t: t["susceptibilities"].attrs.update(dataset_id_to_name=["a"]), "has 1 names"),
        (
            lambda t: t["susceptibilities"].attrs.update(dataset_id_to_name="ab"),
            "is 'ab', expected a list of names",
        ),
        (lambda t: _cut(t, "susceptibilities", {"wr": 0}), "sus is along sus_flat, expected"),
        (lambda t: _cut(t, "susceptibilities", {"wr": [0, 0]}), "each once"),
        (lambda t: _cut(t, "susceptibilities", {"sus_flat": []}), "sus is empty"),
        (lambda t: _without(t, "susceptibilities", "batch"), "expected whole numbers batch"),
        (lambda t: _without(t, "susceptibilities", "wr"), "expected a name wr"),
        (lambda t: t["context"].ds.input_ids.values.__imul__(-1), "expected token ids"),
    ],
)
def test_another_tree_is_refused_in_one_line(result: Result, damage, message: str) -> None:
    tree = result.to_devinterp()
    damage(tree)
    with pytest.raises(ValueError, match=message) as caught:
        Result.from_devinterp(tree)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("other", [None, "sus.zarr", {"susceptibilities": 1}, xarray.Dataset()])
def test_what_is_no_tree_is_refused(other) -> None:
    with pytest.raises(ValueError, match="expected an xarray DataTree, found"):
        Result.from_devinterp(other)


def test_a_sequence_of_two_subsets_is_refused(result: Result) -> None:
    subset = result.labels["subset"].copy()
    subset[1, 2] = "prose"
    mixed = dataclasses.replace(result, labels={"subset": subset})
    with pytest.raises(ValueError, match="a sequence has tokens of two subsets, expected one"):
        mixed.to_devinterp()


def test_parquet_has_the_subsets(result: Result, tmp_path: Path) -> None:
    result.to_parquet(str(tmp_path / "made"))
    stored = read_product(Store(str(tmp_path / "made")))
    assert stored.table["subset"].to_pylist()[::CONTEXT] == list(SUBSETS)
    np.testing.assert_array_equal(stored.chi_NH, result.chi.reshape(-1, 3))
    without_loss = Result.from_devinterp(result.to_devinterp())
    with pytest.raises(ValueError, match="loss has values that are not finite"):
        without_loss.to_parquet(str(tmp_path / "other"))


def test_public_name() -> None:
    assert spectro.Result is Result
