"""What a view reads of a run: names and labels without χ, and how far a run that grows is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from spectro.config import PipelineConfig
from spectro.formats.more_tokens import write_more
from spectro.formats.product import SUMMARY_NAME, part_name, read_product
from spectro.storage.store import DamagedObjectError, MissingObjectError, Store
from spectro.tokens.sequences import Sequences
from spectro.views.columns import run_columns
from spectro.views.diagnose import diagnose_run
from spectro.views.matrix import matrix, principal_axes
from spectro.views.query.query import Query
from spectro.views.run_view import RunView
from spectro.views.text.from_run import document_of_sequence
from tests.run.made_runs import COMPONENTS, make_run, text

Job = Callable[..., int]
RunCopy = tuple[Store, PipelineConfig]
LAST = 2
"""The token shard that is not measured."""


def test_names_and_labels_are_read_without_chi(tmp_path: Path) -> None:
    """χ is spoilt in its place: it is not noticed until it is asked for."""
    store = make_run(tmp_path / "run", text(20, 1))
    product = read_product(store)
    for shard in range(3):
        path = Path(store.path(part_name(shard)))
        group = pq.ParquetFile(path).metadata.row_group(0)
        (chi,) = [
            group.column(index)
            for index in range(group.num_columns)
            if group.column(index).path_in_schema.split(".")[0] == "chi"
        ]
        start = chi.data_page_offset
        data = bytearray(path.read_bytes())
        data[start : start + chi.total_compressed_size] = bytes(chi.total_compressed_size)
        path.write_bytes(data)
    view = RunView(store.uri)
    assert view.components == tuple(COMPONENTS)
    assert view.labels().equals(product.table)
    some = view.labels(["token", "subset"])
    assert some.column_names == ["token", "subset"] and some.num_rows == 20 * 20
    with pytest.raises(DamagedObjectError):
        view.chi(np.array([0]))


def test_rows_that_are_gone_are_said_to_be(tmp_path: Path) -> None:
    store = make_run(tmp_path / "run", text(20, 1))
    store.delete(part_name(1))
    with pytest.raises(MissingObjectError, match=r"part-00001\.parquet does not exist"):
        RunView(store.uri).labels()


@pytest.fixture
def growing(run_copy: Callable[[], RunCopy]) -> Store:
    """A run whose addition has its tokens and no rows yet, as an interrupted one leaves it."""
    store, _ = run_copy()
    ids = np.random.default_rng(0).integers(0, 256, (3, 17)).astype(np.int32)
    added = Sequences(ids_ST1=ids, subset_S=np.zeros(3, np.int16), subset_names=("code",))
    write_more(
        store, 1, added, config={"num_probe_sequences": 9}, sources={}, sequences_per_shard=3
    )
    for part in (store, store.child("control")):
        part.delete(SUMMARY_NAME)
    return store


@pytest.mark.parametrize("part", ["", "/control"])
def test_what_needs_every_token_says_how_many_are_measured(growing: Store, part: str) -> None:
    view = RunView(growing.uri + part)
    assert view.measured == (0, 1) and not view.is_complete
    calls: list[Callable[[], object]] = [
        view.labels,
        lambda: next(view.shards()),
        lambda: view.chi(np.array([0, 6 * 16])),
        lambda: matrix(view),
        lambda: principal_axes(view),
        lambda: document_of_sequence(view, 7),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="2 of 3 token shards are measured") as error:
            call()
        assert str(error.value).endswith(
            f"shard {LAST} is not; go on with spectro resume run.uri={growing.uri}"
        )


@pytest.mark.parametrize("part", ["", "/control"])
def test_what_is_measured_is_shown_all_the_same(
    growing: Store,
    whole_run: PipelineConfig,
    part: str,
) -> None:
    view, whole = RunView(growing.uri + part), RunView(whole_run.run.uri + part)
    found, expected = document_of_sequence(view, 4), document_of_sequence(whole, 4)
    np.testing.assert_array_equal(found.chi_NC, expected.chi_NC)
    np.testing.assert_array_equal(found.row_mean_N, expected.row_mean_N)
    told = dict(found.facts)["Means and deviations"]
    assert "2 of 3 token shards" in told and len(expected.facts) == len(found.facts) - 1
    chi = view.chi(np.array([0, 95]))
    np.testing.assert_array_equal(chi, read_product(whole.store).chi_NH[[0, 95]])
    with Query(view) as query:
        assert query.table("select count(*) as n from tokens")["n"].to_pylist() == [96]


def test_columns_are_as_the_summary_had_them(growing: Store, whole_run: PipelineConfig) -> None:
    summary, view = RunView(whole_run.run.uri).summary, RunView(growing.uri)
    columns = run_columns(view).columns
    np.testing.assert_allclose(columns.deviation_C, summary["standard_deviation"], rtol=1e-12)
    np.testing.assert_allclose(columns.error_C, summary["standard_error"], rtol=1e-12)
    judged = {each.traces.name: each.traces for each in diagnose_run(view, view.components)}
    for name, value in zip(view.components, summary["reliability"], strict=True):
        assert judged[name].reliability == pytest.approx(value, rel=1e-12)
        assert not judged[name].is_centred


def test_commands_on_a_run_that_grows(
    growing: Store, job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = f"run.uri={growing.uri}"
    assert job("text", run, "sequence=0") == 0
    (tmp_path / "a.txt").write_text("a text")
    assert job("text", run, "file=a.txt") == 0
    capsys.readouterr()
    assert job("diagnose", run, "diagnose.components=['L1*']") == 0
    told = capsys.readouterr().out
    assert "l1h0" in told and "embed" not in told
    for name in ("matrix", "figure"):
        assert job(name, run, *(["kind=matrix"] if name == "figure" else [])) == 2
        error = capsys.readouterr().err
        assert "2 of 3 token shards are measured" in error and error.count("\n") == 1
    assert job("text", run, "sequence=8") == 2
    assert "go on with spectro resume" in capsys.readouterr().err
