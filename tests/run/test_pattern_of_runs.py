"""`spectro pattern` on made runs: weights that say what was planted, files, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spectro.formats.product import read_product
from spectro.storage.store import Store
from spectro.views.config import DataUnit, Target
from spectro.views.patterning import Patterning, patterning, weighted_sequences
from spectro.views.run_view import RunView
from tests.run.made_runs import COMPONENTS, CONTEXT, make_run, put_clusters, text

Job = Callable[..., int]
NUM_SEQUENCES = 40


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Store:
    folder = tmp_path_factory.mktemp("patterned") / "made"
    store = make_run(folder, text(NUM_SEQUENCES, 1), model=str(tiny_model_dir), halves=True)
    put_clusters(store)
    return store


def found(job: Job, run: Store, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert job("pattern", run.uri, "format=json", *arguments) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_more_of_a_cluster_is_weight_on_its_tokens(
    job: Job, run: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = found(job, run, capsys, "target.cluster=0", "units=tokens", "out=w.parquet")
    rows = pq.read_table("w.parquet")
    assert rows.num_rows == NUM_SEQUENCES
    weight = np.array(rows["weight"])
    within = np.array(rows["token_factor"].to_pylist())
    assert weight.sum() == pytest.approx(1)
    np.testing.assert_allclose(within.mean(axis=1), 1, rtol=1e-5)
    factor_N = (within * weight[:, None] * NUM_SEQUENCES).reshape(-1)
    product = read_product(run)
    y_N = product.column("token")
    is_member = np.isin(y_N // 5, y_N[first_cluster(run)] // 5) & (y_N < 20)
    assert factor_N[is_member].mean() > 2 * factor_N[~is_member].mean()
    assert shown["num_units"] == NUM_SEQUENCES * CONTEXT
    assert shown["effective_share"] == pytest.approx(0.25, abs=0.02)
    assert shown["reached"] > 0.5
    ids = np.array(rows["input_ids"].to_pylist())
    np.testing.assert_array_equal(ids, text(NUM_SEQUENCES, 1).ids_ST1)


@pytest.mark.parametrize("units", ["sequences", "patterns"])
def test_blocks_of_sequences_change_nothing(
    units: str, run: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = RunView(run.uri)

    def weighted() -> tuple[Patterning, pa.Table]:
        made = patterning(view, Target(axis=1), DataUnit(units), min_reliability=0.05)
        return made, weighted_sequences(view, made).read_all()

    whole, rows = weighted()
    monkeypatch.setattr("spectro.views.sequence_blocks.BLOCK_TOKENS", 3 * CONTEXT + 1)
    monkeypatch.setattr("spectro.views.patterning.BLOCK_TOKENS", 3 * CONTEXT + 1)
    cut, rows_of_cut = weighted()
    assert rows_of_cut["weight"].num_chunks > NUM_SEQUENCES // 4
    np.testing.assert_array_equal(cut.unit_N, whole.unit_N)
    assert cut.subset_factor == whole.subset_factor
    assert rows_of_cut.combine_chunks().equals(rows.combine_chunks())


def first_cluster(run: Store) -> np.ndarray:
    members = pq.read_table(Path(run.root) / "clusters" / "members.parquet")
    return np.asarray(members["token_id"])[np.asarray(members["cluster_id"]) == 0]


@pytest.mark.parametrize("units", ["sequences", "clusters", "patterns", "subsets"])
def test_weights_of_every_unit_are_a_distribution(
    units: str, job: Job, run: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["target.axis=1", f"units={units}", "min_reliability=0.05", "out=w.parquet"]
    if units == "subsets":  # one subset: nothing to weigh
        assert job("pattern", run.uri, *arguments) == 2
        assert "expected at least two units" in capsys.readouterr().err
        return
    shown = found(job, run, capsys, *arguments)
    rows = pq.read_table("w.parquet")
    assert np.array(rows["weight"]).sum() == pytest.approx(1)
    assert ("token_factor" in rows.column_names) == (units in ("clusters", "patterns"))
    assert len(shown["predicted"]) == len(COMPONENTS)
    opposite = found(job, run, capsys, *arguments, "target.opposite=true")
    np.testing.assert_allclose(np.sign(opposite["target"]), -np.sign(shown["target"]))


def test_the_table_says_what_is_reached(
    job: Job, run: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    target = "target.components={l0h*: 1, l0h2: -1}"
    assert job("pattern", run.uri, target, "units=tokens", "target.size=0.1") == 0
    shown = capsys.readouterr().out
    assert "-0.100" in shown and "+0.100" in shown and "reached" in shown


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("target.size=1", "expected one of target.components"),
        ("target.components={l9*: 1}", "no component of the run matches 'l9*'"),
        ("target.components={l0h2: .nan}", "l0h2 must be a finite number"),
        ("target.axis=7", "expected at most 6"),
        ("target.pattern=nonsense", "must be one of"),
        ("target.cluster=999", "target.cluster: expected 0 to"),
        ("target={axis: 1, size: -1}", "target.size must be positive"),
        ("target={axis: 1, size: 1e200}", "target.size must be positive and at most 1e+06"),
        ("target.components={l0h2: 1e300}", "l0h2 must be a finite number of standard deviations"),
        ("target.components={l0h2: 0}", "found 0.0% of it there"),
    ],
)
def test_refusals_are_one_clear_line(
    argument: str, message: str, job: Job, run: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert job("pattern", run.uri, argument) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_run_without_halves_is_refused(
    job: Job, tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = make_run(tmp_path / "whole", text(8, 2), model=str(tiny_model_dir))
    assert job("pattern", whole.uri, "target.axis=1") == 2
    assert "halves" in capsys.readouterr().err
