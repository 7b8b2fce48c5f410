"""Vectors of a `two_chain` product: its columns without E[φ]·B, for all chains and for halves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.product import FINGERPRINT, PROBE, product_config
from spectro.cluster_stage.units import Half, Layout, TransformUnit
from spectro.cluster_stage.vectors import ListsOnNode, rows_of
from spectro.clustering.config import ClusterConfig, Preprocess
from spectro.clustering.vectors.preprocess import fit_transform
from spectro.clustering.vectors.transform import Transform
from spectro.formats.derived_objects import put_derived
from spectro.formats.halves import halves_table
from spectro.formats.product import SUMMARY_NAME, ShardRows, put_part, shard_table
from spectro.measure.resident_model import ResidentModel
from spectro.pipeline.preflight import check_goal
from spectro.pipeline.stages import STAGES
from spectro.sampling.config import TokenDraws
from spectro.storage.store import Store
from spectro.susceptibility.estimator import EstimatorConfig
from spectro.work.model_info import ModelInfo
from spectro.work.stage import Goal

CONTEXT, SEQUENCES, SHARDS = 20, 8, 3
NUM = CONTEXT * SEQUENCES * SHARDS
NAMES = ("l0h0", "l0h1", "l0mlp", "embed")
PHI = np.array([[0.1, 0.2, 0.5, 1.0], [0.12, 0.18, 0.55, 0.9]])
"""E[φ] of either half of the chains."""
CONFIG = ClusterConfig(num_neighbours=12, min_size=10, reach=150)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planted:
    """Own columns and responses of both halves; all chains have their mean."""

    own_2NH: np.ndarray
    response_2N: np.ndarray

    @property
    def phi_H(self) -> np.ndarray:
        return PHI.mean(axis=0)

    @property
    def whole(self) -> tuple[np.ndarray, np.ndarray]:
        response_N = self.response_2N.mean(axis=0)
        return self.own_2NH.mean(axis=0) + response_N[:, None] * self.phi_H, response_N

    def half(self, half: int) -> tuple[np.ndarray, np.ndarray]:
        response_N = self.response_2N[half]
        return self.own_2NH[half] + response_N[:, None] * PHI[half], response_N


@pytest.fixture(scope="module")
def planted() -> Planted:
    """Halves whose own parts correlate by 1/2, and whose responses are of noise alone."""
    rng = np.random.default_rng(8)
    signal = rng.normal(size=(NUM, len(NAMES)))
    own = 0.05 * (signal + rng.normal(size=(2, NUM, len(NAMES))))
    return Planted(own_2NH=own, response_2N=3 * rng.normal(size=(2, NUM)))


def put(
    uri: str, planted: Planted, *, response: bool = True, of_halves: bool = True, phi: bool = True
) -> tuple[Store, Layout]:
    """The product; without B, without that of the halves, or without E[φ] of the halves."""
    store, per_shard = Store(uri), CONTEXT * SEQUENCES
    for shard in range(SHARDS):
        part = slice(shard * per_shard, (shard + 1) * per_shard)
        chi, b = (values[part] for values in planted.whole)
        first, second = ([v[part] for v in planted.half(h)] for h in (0, 1))
        rows = ShardRows(
            ids_nT1=np.zeros((SEQUENCES, CONTEXT + 1), np.int32),
            sequence_id_n=np.arange(SEQUENCES) + shard * SEQUENCES,
            subset_n=np.zeros(SEQUENCES, np.int16),
            subset_names=("text",),
            values={
                "loss": np.ones(per_shard),
                "full_response": b if response else np.full(per_shard, np.nan),
                "chi": chi,
            },
        )
        table = shard_table(rows, NAMES, FINGERPRINT, {})
        halves = {"chi": (first[0], second[0])}
        if response and of_halves:
            halves["full_response"] = (first[1], second[1])
        put_part(store, shard, table, {}, halves_table(table, halves))
    summary: dict[str, object] = {"centred_reliability": [1.0] * 4, "mean_phi": list(planted.phi_H)}
    if phi:
        summary["mean_phi_of_halves"] = PHI.T.tolist()
    put_derived(store, SUMMARY_NAME, summary, PROBE)
    return store, Layout(shard_rows=(per_shard,) * SHARDS, block_rows=NUM)


def transform_of(
    store: Store, layout: Layout, half: Half | None = None, config: ClusterConfig = CONFIG
) -> Transform:
    """By the unit, as a worker makes it."""
    unit = TransformUnit(
        part="", layout=layout, half=half, probe_sha256=PROBE, key=f"{config.preprocess}-{half}",
        needs=(), cost=1.0,
    )  # fmt: skip
    run = dataclasses.replace(
        product_config(store.uri, config, scratch=None), estimator=EstimatorConfig()
    )
    STAGES.execute(unit, ResidentModel(run), lambda done, total: None)
    with ListsOnNode(store, unit.key, half, layout, None) as lists:
        return lists.transform


def vectors(store: Store, transform: Transform, half: Half | None = None) -> np.ndarray:
    return np.concatenate(
        [transform.apply(*rows_of(store, half, shard, transform)) for shard in range(SHARDS)]
    )


@pytest.mark.parametrize("half", [None, 0, 1])
def test_clusters_see_the_restricted_columns(
    tmp_path: Path, planted: Planted, half: Half | None
) -> None:
    store, layout = put(str(tmp_path), planted)
    x = vectors(store, transform_of(store, layout, half), half)
    own = planted.own_2NH.mean(axis=0) if half is None else planted.own_2NH[half]
    # χ is a float32 of at most 12 · E[φ] ≤ 12, over deviations of some 0.06.
    np.testing.assert_allclose(x, (own - own.mean(0)) / own.std(0), atol=12 * 2**-23 / 0.06)


def test_the_report_is_of_the_own_part(tmp_path: Path, planted: Planted) -> None:
    store, layout = put(str(tmp_path), planted)
    report = transform_of(store, layout).report
    first, second = planted.own_2NH
    r = [np.corrcoef(first[:, h], second[:, h])[0, 1] for h in range(4)]
    np.testing.assert_allclose(report.dimension_reliability_D, r, atol=1e-3)
    # The halves' own parts agree by 1/2, up to 1/√480; responses of noise would give none.
    assert report.reliability == pytest.approx(0.5, abs=0.08)
    chi, _ = planted.whole
    own = planted.own_2NH.mean(axis=0)
    share = 1 - (own.var(axis=0) / chi.var(axis=0)).mean()
    assert report.response_share == pytest.approx(share, abs=1e-5)
    assert np.isnan(transform_of(store, layout, 0).report.reliability)


def test_published_vectors_leave_it_in(tmp_path: Path, planted: Planted) -> None:
    store, layout = put(str(tmp_path), planted)
    published = dataclasses.replace(CONFIG, preprocess=Preprocess.STANDARDISE)
    transform = transform_of(store, layout, config=published)
    chi = planted.whole[0].astype(np.float32)
    expected = fit_transform(chi, published).apply(chi)
    np.testing.assert_allclose(vectors(store, transform), expected, atol=1e-5)
    assert not transform.needs_response
    z = (chi - chi.mean(0)) / chi.std(0)
    assert transform.report.row_share == pytest.approx(z.mean(axis=1).var(), abs=1e-5)
    assert transform.report.dimension_reliability_D.size == 4


def test_without_the_response_the_rows_weighted_mean_goes(tmp_path: Path, planted: Planted) -> None:
    store, layout = put(str(tmp_path), planted, response=False)
    transform = transform_of(store, layout)
    chi = planted.whole[0].astype(np.float32)
    expected = fit_transform(chi, CONFIG, mean_phi_H=planted.phi_H).apply(chi)
    np.testing.assert_allclose(vectors(store, transform), expected, atol=1e-4)
    assert np.isnan(transform.report.response_share)
    assert transform.report.row_share > 0.5
    assert transform.report.reliability == pytest.approx(0.5, abs=0.1)


def test_own_draws_of_token_shards_have_no_one_amount_of_it(tmp_path: Path) -> None:
    """Refused before anything is measured, in words that every shell can print."""
    config = product_config(str(tmp_path / "run"), CONFIG, scratch=None)
    own = dataclasses.replace(config.chain, draws=TokenDraws.PER_SHARD)
    config = dataclasses.replace(config, chain=own, estimator=EstimatorConfig())
    model = ModelInfo(
        num_layers=1, num_heads=2, hidden_size=8, vocab_size=9, max_context=20, device="cpu",
        weights_sha256="0",
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"the shared response .*estimator\.kind=restricted") as e:
        check_goal(config, Store(config.run.uri), Goal.CLUSTER, model)
    assert str(e.value).isascii()


def test_halves_of_an_earlier_version_say_what_does_without(
    tmp_path: Path, planted: Planted
) -> None:
    """All chains are clustered; a half is not, in one line."""
    store, layout = put(str(tmp_path / "no-b"), planted, of_halves=False)
    with pytest.raises(ValueError, match=r"not their B for shard 0: .*stability=false"):
        transform_of(store, layout, 1)
    store, layout = put(str(tmp_path / "no-phi"), planted, phi=False)
    for of_halves in (None, [None] * 4):  # not known, as an earlier version has it and as ours does
        summary = {"centred_reliability": [1.0] * 4, "mean_phi": list(planted.phi_H)}
        if of_halves is not None:
            store.delete(SUMMARY_NAME)
            put_derived(store, SUMMARY_NAME, summary | {"mean_phi_of_halves": of_halves}, PROBE)
        with pytest.raises(ValueError, match=r"in either half of the chains: .*stability=false"):
            transform_of(store, layout, 0)
    assert np.isnan(transform_of(store, layout).report.reliability)
