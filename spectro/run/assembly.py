"""Tiles into rows and half estimates, and the moments of all shards into the run's summary."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spectro.models.components import FULL_GROUP, Group, select_components
from spectro.models.delta import clean_losses
from spectro.models.groups import group_model
from spectro.run.config import PipelineConfig, chain_inputs
from spectro.run.units import AssemblyUnit, SummaryUnit
from spectro.sampling.baseline import unpaired_offset
from spectro.sampling.keys import KeyedRandomness
from spectro.storage import draws, fingerprint, product, run_dir, tiles, tokens
from spectro.storage.derived import put_derived
from spectro.storage.fs import Store
from spectro.storage.halves import halves_table
from spectro.storage.sealed import with_nan
from spectro.susceptibility.estimator import Baseline, ChainSums
from spectro.susceptibility.reliability import (
    ColumnEstimate,
    ColumnMoments,
    centred_reliability,
    estimate_column,
    first_halves,
    merge,
)
from spectro.susceptibility.summary import chain_summary, column_summary
from spectro.susceptibility.warnings import chain_warnings

if TYPE_CHECKING:
    from spectro.run.execute import Resident

logger = logging.getLogger(__name__)


def assemble_shard(
    unit: AssemblyUnit, resident: Resident, store: Store, config: PipelineConfig
) -> None:
    """Estimate χ from a shard's tiles, put its rows, halves and moments, remove the tiles."""
    sums, seconds = _read_sums(store, unit.shard, unit.groups, config.chain.num_chains)
    full = sums.pop(FULL_GROUP.name, None)
    offset = phi_offset(resident, config)
    shape = resident.model.shape
    columns = {
        c.name: estimate_column(sums[c.name], full, config.estimator.kind, phi_offset=offset)
        for c in select_components(config.components, shape.num_layers, shape.num_heads)
    }
    sequence_id_n, sequences = resident.probe_shard(unit.shard)
    num_tokens = sequences.ids_ST1[:, 1:].size
    response_N = (
        full.of_chains(range(full.num_chains)).response_N if full else np.full(num_tokens, np.nan)
    )
    ids = resident.probe_ids(unit.shard)
    rows = product.ShardRows(
        ids_nT1=sequences.ids_ST1,
        sequence_id_n=sequence_id_n,
        subset_n=sequences.subset_S,
        subset_names=sequences.subset_names,
        loss_N=clean_losses(group_model(resident.model, FULL_GROUP), ids).cpu().numpy().reshape(-1),
        full_response_N=response_N,
        chi_NH=np.stack([column.chi_N for column in columns.values()], axis=-1),
    )
    of_chains = _of_chains(store, unit.groups, config, offset)
    centred_H = centred_reliability(list(columns.values()))
    table = product.shard_table(
        rows,
        list(columns),
        rows_fingerprint(resident, store),
        column_summary({n: c.moments for n, c in columns.items()}, of_chains, centred_H),
    )
    moments = {
        "moments": {name: plain_moments(column) for name, column in columns.items()},
        "centred_reliability": centred_H.tolist(),
        "chains": of_chains,
        "seconds": seconds,
    }
    halves = first_halves(list(columns.values())) if config.run.keep_halves else None
    product.put_part(store, unit.shard, table, moments, halves and halves_table(table, *halves))
    for group in unit.groups:
        store.delete(tiles.tile_name(unit.shard, group.name))


def summarise(unit: SummaryUnit, store: Store, config: PipelineConfig) -> None:
    """Put `summary.json`: what is known of every column over all tokens, and of which tokens."""
    shards = product.read_moments(store, unit.num_shards)
    merged = {
        name: reduce(merge, [column_moments(shard["moments"][name]) for shard in shards])
        for name in shards[0]["moments"]
    }
    chain_seconds = [
        draws.read_record(store, group.name, chain, or_dropped=True).seconds
        for group in unit.groups
        for chain in range(config.chain.num_chains)
    ]
    summary = column_summary(merged, shards[0]["chains"], mean_over_shards(shards))
    summary["seconds"] = {
        "chains": sum(chain_seconds),
        "tiles": sum(shard["seconds"] for shard in shards),
    }
    of_chains = dict(shards[0]["chains"])
    if FULL_GROUP in unit.groups:
        of_chains |= _of_group(store, FULL_GROUP, config.chain.num_chains, 0.0)
    summary["warnings"] = chain_warnings(of_chains, config.sampler.gamma)
    for line in summary["warnings"]:
        logger.warning("%s", line)
    put_derived(store, unit.names[0], summary, unit.probe_sha256)


def rows_fingerprint(resident: Resident, store: Store) -> str:
    """Of what determines χ of any token: the run's inputs, but for which tokens are measured, and
    the sampling and evaluation tokens that its sources gave, which no configuration can promise.
    """
    return fingerprint.digest(
        {
            "run": chain_inputs(run_dir.require(store).inputs),
            "tokens": tokens.read_info(resident.root).fingerprint,
        }
    )


def _read_sums(
    store: Store, shard: int, groups: Sequence[Group], num_chains: int
) -> tuple[dict[str, ChainSums], float]:
    """Sums of every component of a shard, and the seconds that its tiles took."""
    found, seconds = {}, 0.0
    for group in groups:
        sums, tile_seconds = tiles.read_tile(store, shard, group.name)
        records = [draws.read_record(store, group.name, chain) for chain in range(num_chains)]
        seconds += tile_seconds
        for component in group.components:
            tile = sums[component.name]
            found[component.name] = ChainSums(
                weighted_CN=tile.weighted_CN,
                plain_CN=tile.plain_CN,
                delta_loss=[r.components[component.name].delta_loss for r in records],
                weight=[r.components[component.name].weight for r in records],
            )
    return found, seconds


def phi_offset(resident: Resident, config: PipelineConfig) -> float:
    """o in φ_t = ΔL(t) + o, nats: 0 but for the unpaired baseline."""
    if config.estimator.baseline is not Baseline.UNPAIRED:
        return 0.0
    return unpaired_offset(
        resident.model,
        resident.sampling_ids,
        resident.evaluation_ids,
        KeyedRandomness(seed=config.seed),
        batch_size=config.chain.batch_size,
        num_batches=config.estimator.num_baseline_batches,
        num_chains=config.chain.num_chains,
    )


def _of_chains(
    store: Store, groups: Sequence[Group], config: PipelineConfig, offset: float
) -> dict[str, dict[str, Any]]:
    """What the chains alone say of every column."""
    found: dict[str, dict[str, Any]] = {}
    for group in groups:
        if group != FULL_GROUP:
            found |= _of_group(store, group, config.chain.num_chains, offset)
    return found


def _of_group(store: Store, group: Group, num_chains: int, offset: float) -> dict[str, Any]:
    """Statistics of the chains of a group's components."""
    pilot = draws.read_pilot(store, group.name)
    records = [
        draws.read_record(store, group.name, chain, or_dropped=True) for chain in range(num_chains)
    ]
    return {
        c.name: chain_summary(
            [record.components[c.name] for record in records],
            pilot.get(c.name),
            phi_offset=offset,
        )
        for c in group.components
    }


def mean_over_shards(shards: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float64]:
    """Centred reliability by column, shards weighted by their tokens; NaN where one has none."""
    names = list(shards[0]["moments"])
    if any(list(shard["moments"]) != names for shard in shards):
        raise ValueError(
            f"token shards have other columns than the first, {', '.join(names[:8])}, or the same "
            "in another order: were they measured by another version of spectro?"
        )
    known = with_nan([shard["centred_reliability"] for shard in shards])
    values = np.array(known, dtype=np.float64)
    weights = [next(iter(shard["moments"].values()))["num_tokens"] for shard in shards]
    mean_H: npt.NDArray[np.float64] = np.average(values, axis=0, weights=weights)
    return mean_H


def plain_moments(column: ColumnEstimate) -> dict[str, Any]:
    """Moments of a column as plain values, as `column_moments` reads them."""
    fields = dataclasses.asdict(column.moments)
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in fields.items()}


def column_moments(plain: Mapping[str, Any]) -> ColumnMoments:
    """Moments of a column as a shard's JSON has them."""
    plain = with_nan(dict(plain))

    def rows(name: str, width: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array(plain[name], dtype=np.float64).reshape(-1, width)

    return ColumnMoments(
        num_tokens=plain["num_tokens"],
        mean=plain["mean"],
        squares=plain["squares"],
        error_squares=plain["error_squares"],
        half_means_P2=rows("half_means_P2", 2),
        half_products_P3=rows("half_products_P3", 3),
    )
