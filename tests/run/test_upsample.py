"""Upsampled runs: planted χ is predicted, denoised and judged; kill, resume, add."""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from spectro.config import PipelineConfig
from spectro.formats import product, tokens
from spectro.formats.deviations import read_deviations
from spectro.formats.halves import halves_table, read_half
from spectro.formats.predictors import HELD_OUT
from spectro.formats.shard_file import lists
from spectro.inspect.verify import verify_run
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.load import load_model
from spectro.pipeline.run import Goal, run_pipeline
from spectro.predict.config import PredictConfig
from spectro.predict.features import feature_names, token_features
from spectro.sampling.config import TokenDraws
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from spectro.tokens.config import MoreConfig
from spectro.views.page.read_columns import read_columns
from spectro.views.query.config import Window
from spectro.views.query.lookups import of_token
from spectro.views.query.query import Query
from spectro.views.run_view import RunView
from spectro.views.text import page as text_page
from spectro.views.text.from_run import document_of_sequence
from spectro.work.progress import Progress
from spectro.work.registry import StageRegistry
from tests.run.upsampled_runs import MORE, PROBE, run, upsampled

NOISE = 1.0
"""Standard deviation of the planted noise of a half, where the truth's is 1."""
Planted = Callable[[np.ndarray, int], np.ndarray]
"""Features of a shard [N, F] and its number → χ of either half, [2, N, H]."""


SEEN = {
    "loss": (6.5, 1.1), "l0h0.entropy": (1.4, 0.65), "l1mlp.inner_norm": (4.5, 0.8),
    "last.scale": (0.65, 0.2),
}  # fmt: skip
"""Features that planted χ is a function of, with about their mean and deviation."""


def features(config: PipelineConfig, store: Store, shard: int) -> np.ndarray:
    """Those in `SEEN` of one token shard, at mean 0 and variance 1, [N, 4]."""
    model = GPTNeoX.from_pretrained_model(load_model(config.model))
    ids = tokens.read_shard(store, "probe", shard)[1].ids_ST1
    found, names = token_features(model, torch.from_numpy(ids).long()), feature_names(model.shape)
    columns = [(found[:, names.index(name)] - m) / s for name, (m, s) in SEEN.items()]
    return np.stack(columns, 1).astype(np.float64)


def truth_of(features_N4: np.ndarray) -> np.ndarray:
    """χ [N, 3] as a function of the features: of the order of 1, known for any token."""
    return np.tanh(features_N4 @ np.random.default_rng(0).normal(size=(4, 3)))


def plant(
    config: PipelineConfig, uri: Path, halves_of: Callable[..., np.ndarray]
) -> PipelineConfig:
    """A copy of a measured run with χ of either half that a function of (features, shard) gives."""
    shutil.copytree(config.run.uri, uri)
    store = Store(str(uri))
    for shard in range(tokens.read_info(store).splits["probe"].num_shards):
        told = read_sealed(store, product.moments_name(shard))
        halves = halves_of(features(config, store, shard), shard).astype(np.float32)
        part = _with_chi(store, shard, halves.mean(0))
        for name in (product.part_name, product.halves_name, product.moments_name):
            store.delete(name(shard))
        rest = {k: v for k, v in told.items() if k not in ("part", "halves", "num_tokens")}
        product.put_part(
            store, shard, part, rest, halves_table(part, {"chi": (halves[0], halves[1])})
        )
    return dataclasses.replace(config, run=dataclasses.replace(config.run, uri=str(uri)))


def _with_chi(store: Store, shard: int, chi_NH: np.ndarray) -> pa.Table:
    table = pq.read_table(io.BytesIO(store.read(product.part_name(shard))))
    place = table.schema.get_field_index("chi")
    return table.set_column(place, "chi", lists(chi_NH)).replace_schema_metadata(
        table.schema.metadata
    )


def with_noise(features_N4: np.ndarray, shard: int) -> np.ndarray:
    """The truth with noise of its own in either half: what draws of its own give a shard."""
    noise = np.random.default_rng(100 + shard).normal(size=(2, len(features_N4), 3))
    return truth_of(features_N4) + NOISE * noise


def test_planted_chi_is_predicted_denoised_and_judged(
    measured_run: PipelineConfig, tmp_path: Path
) -> None:
    planted = plant(measured_run, tmp_path / "planted", with_noise)
    scratch = tmp_path / "scratch"
    config = upsampled(planted, tmp_path / "up")
    run(dataclasses.replace(config, run=dataclasses.replace(config.run, scratch=str(scratch))))
    store, source = Store(config.run.uri), Store(planted.run.uri)
    info, num_measured = tokens.read_info(store), 6
    assert [path for path in scratch.rglob("*") if path.is_file()] == []  # nor locks
    assert info.splits["probe"].num_shards == 8
    assert [n for n in store.list() if "features" in n] == []  # nobody needs them any more
    new, old, measured, covered = [], [], [], []
    for shard in range(8):
        truth = truth_of(features(config, store, shard))
        error = product.read_chi(store, shard) - truth
        (old if shard < num_measured else new).append(error)
        covered.append(np.abs(error) < 1.96 * read_deviations(store, shard))
        if shard < num_measured:
            measured.append(product.read_chi(source, shard) - truth)
            assert np.array_equal(
                tokens.read_shard(store, "probe", shard)[1].ids_ST1,
                tokens.read_shard(source, "probe", shard)[1].ids_ST1,
            )
    truth = truth_of(np.concatenate([features(config, store, s) for s in (6, 7)]))
    new_chi = truth + np.concatenate(new)
    for h in range(3):
        assert np.corrcoef(new_chi[:, h], truth[:, h])[0, 1] > 0.7
    mean_square = {name: float(np.mean(np.concatenate(x) ** 2)) for name, x in
                   {"old": old, "new": new, "measured": measured}.items()}  # fmt: skip
    assert mean_square["measured"] == pytest.approx(NOISE**2 / 2, rel=0.1)
    assert mean_square["old"] < 0.75 * mean_square["measured"]  # denoised
    assert 0.85 < np.concatenate(covered[:6]).mean() < 0.99
    assert 0.85 < np.concatenate(covered[6:]).mean() < 0.999
    held_out = read_sealed(store, HELD_OUT)
    reliability = np.var(truth) / (np.var(truth) + NOISE**2 / 2)
    assert np.mean(held_out["ceiling"]) == pytest.approx(np.sqrt(reliability), abs=0.1)
    assert np.mean(held_out["curves"]["noise_KH"]) == pytest.approx(NOISE**2 / 2, rel=0.1)
    assert np.mean(held_out["coverage"]) == pytest.approx(0.95, abs=0.02)
    assert verify_run(store, config).faults == ()
    summary = read_sealed(store, product.SUMMARY_NAME)
    median = np.median(np.array(held_out["r"]) / held_out["ceiling"])
    (warning,) = summary["warnings"]
    assert "not whether predictions are right" in warning
    assert f"median r over its ceiling is {median:.2f}," in warning
    views_have_the_intervals_of_predictions(config, summary)


def views_have_the_intervals_of_predictions(
    config: PipelineConfig, summary: dict[str, Any]
) -> None:
    """Two chains would make them 12.71 / 1.96 as wide."""
    store, view = Store(config.run.uri), RunView(config.run.uri)
    width_H = [1.959964 * error for error in summary["standard_error"]]
    assert summary["half_width_95"] == pytest.approx(width_H)
    token_id = 6 * view.info.splits["probe"].shard_sizes[0] * view.context + 5
    with Query(view) as query:
        table = query.table("select half_width_95 from components order by place")
        assert table["half_width_95"].to_pylist() == pytest.approx(width_H)
        found = of_token(query, token_id, Window(before=1, after=1))
        row = {each["component"]: each for each in found.table.to_pylist()}
        own_H = read_deviations(store, 6)[5]
        assert [row[name]["deviation"] for name in view.components] == own_H.tolist()
        assert "half_width_95" not in found.table.column_names
        assert "χ ± 1.96 deviation is the 95 % interval" in found.notes[1]
    columns = read_columns(store, view.components, view.interval)
    plain = columns.to_json()
    assert plain["halfWidth"] == pytest.approx(width_H, rel=1e-3)  # rounded for the page
    assert "predictions" in plain["interval"] and plain["warnings"] == summary["warnings"]
    text = text_page.page_data(document_of_sequence(view, 3))
    names = summary["components"]
    own = [width_H[names.index(name)] for name in text["components"]]
    assert text["columnHalfWidth"] == pytest.approx(own, rel=0.05)  # two digits
    assert text["interval"] == plain["interval"]


def shared_noise(features_N4: np.ndarray, shard: int) -> np.ndarray:
    """No truth at all: what draws that all tokens share give, a function of the features."""
    return np.tanh(np.stack([features_N4[:, [0]] * [1, 2, -1], features_N4[:, [3]] * [1, -1, 2]]))


def as_shared(config: PipelineConfig) -> PipelineConfig:
    """The same run read as one whose shards share their draws."""
    chain = dataclasses.replace(config.chain, draws=TokenDraws.SHARED)
    return dataclasses.replace(config, chain=chain)


def test_nothing_is_judged_along_the_draws_that_were_learnt(
    measured_run: PipelineConfig, tmp_path: Path
) -> None:
    """The trap: each half is learnt well, and the other half shows that nothing was learnt."""
    planted = as_shared(plant(measured_run, tmp_path / "planted", shared_noise))
    config = run(upsampled(planted, tmp_path / "up"))
    store, source = Store(config.run.uri), Store(planted.run.uri)
    held_out = read_sealed(store, HELD_OUT)
    for h in range(3):
        trap, honest = [], []
        for shard in (6, 7):  # never measured
            first = shared_noise(features(config, store, shard), shard)
            predicted = read_half(store, shard, 0)
            trap.append(np.corrcoef(predicted[:, h], first[0][:, h])[0, 1])
            honest.append(np.corrcoef(predicted[:, h], first[1][:, h])[0, 1])
        assert np.mean(trap) > 0.6  # along its own draws it seems to predict
        alike = np.corrcoef(first[0][:, h], first[1][:, h])[0, 1]
        assert held_out["r"][h] < abs(alike) + 0.25
        assert np.mean(trap) > np.abs(np.mean(honest)) + 0.4
    assert held_out["own_draws"] is False
    for shard in range(
        6
    ):  # χ with the noise of its draws is not mixed with a prediction that has it
        assert np.array_equal(product.read_chi(store, shard), product.read_chi(source, shard))
        halves = [read_half(source, shard, half) for half in (0, 1)]
        noise = np.mean((halves[0] - halves[1]) ** 2) / 4
        assert np.mean(read_deviations(store, shard) ** 2) == pytest.approx(noise, rel=0.5)


def rows(config: PipelineConfig, shards: range) -> list[bytes]:
    store = Store(config.run.uri)
    return [
        store.read(name(shard))
        for shard in shards
        for name in (product.part_name, product.halves_name, product.deviations_name)
    ]


def test_killed_anywhere_it_goes_on_to_the_same_rows(
    measured_run: PipelineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = PredictConfig(num_folds=2, hidden=8, epochs=2)
    whole = run(upsampled(measured_run, tmp_path / "whole", predict=fast))
    killed = upsampled(measured_run, tmp_path / "killed", predict=fast)
    execute, done = StageRegistry.execute, []

    class Killed(BaseException):
        """As a signal that ends the process."""

    def some(stages, unit, *rest) -> None:
        if len(done) >= 3:
            raise Killed
        execute(stages, unit, *rest)
        done.append(unit)

    monkeypatch.setattr(StageRegistry, "execute", some)
    stages = set()
    for _ in range(20):
        done.clear()
        try:
            run(killed)
        except Killed:
            stages |= {unit.stage for unit in done}
        else:
            break
    assert {"tokens", "features", "training", "prediction"} <= stages
    assert rows(killed, range(8)) == rows(whole, range(8))


def test_more_tokens_append(measured_run: PipelineConfig, tmp_path: Path) -> None:
    fast = PredictConfig(num_folds=2, hidden=8, epochs=2)
    config = run(upsampled(measured_run, tmp_path / "up", predict=fast))
    before = rows(config, range(8))
    more = dataclasses.replace(config, more=MoreConfig(num_probe_sequences=MORE + 4))
    run(more, Goal.REPORT)
    store = Store(config.run.uri)
    assert rows(config, range(8)) == before
    summary = read_sealed(store, product.SUMMARY_NAME)
    assert summary["upsampled"]["num_measured_tokens"] == 2 * PROBE * 16
    assert summary["upsampled"]["num_predicted_tokens"] == 2 * (MORE + 4 - PROBE) * 16
    assert store.exists("report/index.html")
    stored = dataclasses.replace(config, more=None)
    assert run_pipeline(stored, Progress(), goal=Goal.REPORT).num_units == 0  # spectro resume
    found = verify_run(store, stored)
    assert (found.faults, found.undone) == ((), ())


def test_a_finished_run_does_not_need_the_measured_one(
    measured_run: PipelineConfig, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(measured_run.run.uri, source)
    own = dataclasses.replace(measured_run.run, uri=str(source))
    fast = PredictConfig(num_folds=2, hidden=8, epochs=2)
    config = run(
        upsampled(dataclasses.replace(measured_run, run=own), tmp_path / "up", predict=fast)
    )
    shutil.rmtree(source)
    assert run_pipeline(config, Progress(), goal=Goal.SAMPLE).num_units == 0
    run(dataclasses.replace(config, more=None), Goal.CLUSTER)  # spectro cluster
    store = Store(config.run.uri)
    assert any(name.startswith("clusters/") for name in store.list())
    before = store.list()
    more = dataclasses.replace(config, more=MoreConfig(num_probe_sequences=MORE + 4))
    new = dataclasses.replace(config, run=dataclasses.replace(own, uri=str(tmp_path / "new")))
    for needs_it in (more, new):
        with pytest.raises((ValueError, FileNotFoundError), match="source"):
            run(needs_it)
    assert store.list() == before and not (tmp_path / "new").exists()
