"""A product without a model: given χ as a run on storage, and its cluster stage alone.

What `spectro cluster` does for a measured run is done here for any matrix: the same units,
one after the other, in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import numpy.typing as npt

from spectro.cluster_stage.units import ClusterUnit, Layout, cluster_units
from spectro.clustering.config import ClusterConfig
from spectro.config import PipelineConfig
from spectro.formats.derived_objects import put_derived
from spectro.formats.halves import halves_table
from spectro.formats.product import SUMMARY_NAME, ShardRows, put_part, shard_table
from spectro.measure.resident_model import ResidentModel
from spectro.measure.units import SummaryUnit
from spectro.models.config import ModelConfig
from spectro.pipeline.stages import STAGES
from spectro.sampling.config import ChainConfig
from spectro.sampling.samplers import Gaussian
from spectro.storage.store import Store
from spectro.susceptibility.estimator import EstimatorConfig, EstimatorKind
from spectro.tokens.config import Source, SourceKind, TokensConfig
from spectro.work.config import RunConfig
from spectro.work.units import Unit

CONTEXT = 16
PROBE = "planted"
FINGERPRINT = "0" * 64
Chi = npt.NDArray[np.float32]


def write_product(
    uri: str, blocks: Iterable[Chi], *, half_noise: float | None = None, seed: int = 0
) -> Layout:
    """Put blocks of rows (multiples of 16) as the shards of a product; returns how they lie.

    With `half_noise`, half estimates too: χ plus and minus noise of that share of each column's
    standard deviation.
    """
    store, rows, first = Store(uri), [], 0
    for shard, chi_NH in enumerate(blocks):
        num_seq = chi_NH.shape[0] // CONTEXT
        rng = np.random.default_rng((seed, first))  # by row: another cut gives the same halves
        components = [f"c{h}" for h in range(chi_NH.shape[1])]
        table = shard_table(_rows(chi_NH, first // CONTEXT, num_seq), components, FINGERPRINT, {})
        halves = None
        if half_noise is not None:
            noise = half_noise * chi_NH.std(axis=0) * rng.standard_normal(chi_NH.shape)
            halves = halves_table(table, {"chi": (chi_NH + noise, chi_NH - noise)})
        put_part(store, shard, table, {}, halves)
        rows.append(chi_NH.shape[0])
        first += chi_NH.shape[0]
    reliability = [1.0] * chi_NH.shape[1]
    put_derived(store, SUMMARY_NAME, {"centred_reliability": reliability}, PROBE)
    return Layout(shard_rows=tuple(rows), block_rows=ClusterConfig().neighbour_rows)


def product_config(uri: str, cluster: ClusterConfig, **run: object) -> PipelineConfig:
    """A configuration of which only the run and the clusters count."""
    source = Source(kind=SourceKind.TEXT_FOLDER, path="/nowhere")
    return PipelineConfig(
        model=ModelConfig(name_or_path="nowhere", device="cpu"),
        tokens=TokensConfig(subsets={"none": source}, context=CONTEXT),
        sampler=Gaussian(gamma=1.0),
        chain=ChainConfig(num_chains=2),
        estimator=EstimatorConfig(kind=EstimatorKind.RESTRICTED),  # columns that share nothing
        run=RunConfig(uri=uri, num_workers=0, **run),  # type: ignore[arg-type]
        cluster=cluster,
        control=False,
    )


def clusters_of(
    config: PipelineConfig, layout: Layout, *, with_stability: bool = False
) -> ClusterUnit:
    """The unit that a product's clusters are; it needs the rest."""
    measured = SummaryUnit(num_shards=len(layout.shard_rows), groups=())
    return cluster_units(
        measured, config.cluster, layout, PROBE, folder=config.run.clusters,
        with_stability=with_stability,
    )  # fmt: skip


def missing_units(config: PipelineConfig, goal: Unit) -> list[Unit]:
    """What is to be done for a unit, each after those that it needs; nothing is measured."""
    left = STAGES.required([goal], Store(config.run.uri).list())
    done: dict[str, Unit] = {}
    waiting = {unit.id for unit in left}
    while waiting:
        ready = [
            unit for unit in left
            if unit.id in waiting and not any(need.id in waiting for need in unit.needs)
        ]  # fmt: skip
        done |= {unit.id: unit for unit in ready}
        waiting -= set(done)
    return list(done.values())


def do_units(
    config: PipelineConfig, goal: Unit, each: Callable[[Unit, Callable[[], None]], None]
) -> None:
    """Do what is missing for a unit, in this process; `each(unit, do)` calls `do`."""
    resident = ResidentModel(config)
    for unit in missing_units(config, goal):
        each(unit, partial(STAGES.execute, unit, resident, lambda done, total: None))


def _rows(chi_NH: Chi, first_sequence: int, num_seq: int) -> ShardRows:
    num_rows = chi_NH.shape[0]
    token_N = (np.arange(num_rows) + CONTEXT * first_sequence) % 97
    ids_nT1 = np.zeros((num_seq, CONTEXT + 1), np.int32)
    ids_nT1[:, 1:] = token_N.reshape(num_seq, CONTEXT)
    sequences = np.arange(first_sequence, first_sequence + num_seq)
    return ShardRows(
        ids_nT1=ids_nT1,
        sequence_id_n=sequences,
        subset_n=sequences % 2,
        subset_names=("even", "odd"),
        values={
            "loss": np.ones(num_rows, np.float32),
            "full_response": np.full(num_rows, np.nan, np.float32),
            "chi": chi_NH,
        },
    )
