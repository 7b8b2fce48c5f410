"""Tiles into rows and half estimates, and the moments of all shards into the run's summary."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.config import PipelineConfig, chain_inputs
from spectro.formats import chain_records, fingerprint, product, run_dir, tiles, tokens
from spectro.formats.derived_objects import put_derived
from spectro.formats.halves import halves_table
from spectro.measure.resident_model import ResidentModel
from spectro.measure.units import AssemblyUnit, SummaryUnit
from spectro.models.components import FULL_GROUP, Group, select_components
from spectro.models.delta import clean_losses
from spectro.models.groups import group_model
from spectro.sampling.baseline import unpaired_offset
from spectro.sampling.keys import KeyedRandomness
from spectro.storage.checksummed_json import with_nan
from spectro.storage.store import MissingObjectError, Store
from spectro.susceptibility.estimator import Baseline, ChainSums
from spectro.susceptibility.reliability import (
    ColumnEstimate,
    ColumnMoments,
    centred_reliability,
    estimate_column,
    estimate_response,
    first_halves,
    merge,
    reliability,
)
from spectro.susceptibility.summary import chain_summary, column_summary
from spectro.susceptibility.warnings import chain_warnings
from spectro.work.stage import OnProgress, ShouldStop

logger = logging.getLogger(__name__)
Records = Mapping[str, Sequence[chain_records.ChainRecord]]
"""Group → what is kept of some of its chains, in their order."""


def assemble_shard(
    unit: AssemblyUnit, resident: ResidentModel, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Estimate χ from a shard's tiles for every part that they are of; remove the tiles.

    A part whose rows are there is left as it is.
    """
    root, config = resident.of(unit)
    sequence_id_n, sequences = resident.probe_shard(unit.shard)
    ids = resident.probe_ids(unit.shard)
    loss_N = clean_losses(group_model(resident.model, FULL_GROUP), ids).cpu().numpy().reshape(-1)
    offset = phi_offset(resident, config)

    def rows(
        response: ColumnEstimate | None, columns: Sequence[ColumnEstimate]
    ) -> product.ShardRows:
        unknown_N = np.full(loss_N.size, np.nan)
        return product.ShardRows(
            ids_nT1=sequences.ids_ST1,
            sequence_id_n=sequence_id_n,
            subset_n=sequences.subset_S,
            subset_names=sequences.subset_names,
            loss_N=loss_N,
            full_response_N=unknown_N if response is None else response.chi_N,
            chi_NH=np.stack([column.chi_N for column in columns], axis=-1),
        )

    for part in (unit.part, *unit.sisters):
        if not product.has_rows(resident.root.child(part), unit.shard):
            _assemble_part(unit, part, resident, rows, offset)
    for group in unit.groups:
        root.delete(tiles.tile_name(unit.shard, group.name))


MakeRows = Callable[[ColumnEstimate | None, Sequence[ColumnEstimate]], product.ShardRows]
"""From B, where it was measured, and the columns to a shard's rows."""


def _assemble_part(
    unit: AssemblyUnit, part: str, resident: ResidentModel, rows: MakeRows, offset: float
) -> None:
    """Put rows, halves and moments of one part."""
    store, config = resident.root.child(part), resident.config.parts[part]
    records = _records(store, unit.groups, config.chain.of_shard(unit.shard))
    sums, seconds = _read_sums(unit, part, resident, records)
    full = sums.pop(FULL_GROUP.name, None)
    response = estimate_response(full) if full else None
    shape = resident.model.shape
    columns = {
        c.name: estimate_column(sums[c.name], full, config.estimator.kind, phi_offset=offset)
        for c in select_components(config.components, shape.num_layers, shape.num_heads)
    }
    columns_only = [group for group in unit.groups if group != FULL_GROUP]
    of_chains = _of_chains(store, columns_only, records, offset)
    centred_H = centred_reliability(list(columns.values()))
    table = product.shard_table(
        rows(response, list(columns.values())),
        list(columns),
        rows_fingerprint(resident, store),
        column_summary({n: c.moments for n, c in columns.items()}, of_chains, centred_H),
    )
    moments = {
        "moments": {name: plain_moments(column) for name, column in columns.items()},
        "centred_reliability": centred_H.tolist(),
        "phi_offset": offset,
        "response": None if response is None else plain_moments(response),
        "seconds": seconds,
    }
    halves = _halves(table, columns, response) if config.run.keep_halves else None
    product.put_part(store, unit.shard, table, moments, halves)


def _halves(
    table: pa.Table, columns: Mapping[str, ColumnEstimate], response: ColumnEstimate | None
) -> pa.Table | None:
    """Half estimates of χ, and of B where it was measured; None with one chain."""
    halves = first_halves(list(columns.values()))
    if halves is None:
        return None
    if response is None:
        return halves_table(table, *halves)
    first_N, second_N = response.halves_P2N[0]
    return halves_table(table, *halves, (first_N, second_N))


def summarise(
    unit: SummaryUnit, resident: ResidentModel, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Put `summary.json`: what is known of every column over all tokens, and of which tokens."""
    store, config = resident.of(unit)
    shards = product.read_moments(store, unit.num_shards)
    merged = {
        name: reduce(merge, [column_moments(shard["moments"][name]) for shard in shards])
        for name in shards[0]["moments"]
    }
    chains = config.chain.of_shards(unit.num_shards)
    records = _records(store, unit.groups, chains, or_dropped=True)
    num_sets = len(chains) // config.chain.num_chains
    offset = shards[0]["phi_offset"]
    of_chains = _of_chains(store, unit.groups, records, offset, num_sets=num_sets)
    of_columns = {name: of_chains[name] for name in merged}
    summary = column_summary(merged, of_columns, mean_over_shards(shards))
    responses = [shard["response"] for shard in shards if shard.get("response")]
    if responses:
        of_response = reduce(merge, [column_moments(plain) for plain in responses])
        summary["response_reliability"] = reliability(of_response)
    summary["seconds"] = {
        "chains": sum(record.seconds for own in records.values() for record in own),
        "tiles": sum(shard["seconds"] for shard in shards),
    }
    summary["warnings"] = chain_warnings(of_chains, config.sampler.gamma)
    for line in summary["warnings"]:
        logger.warning("%s", line)
    put_derived(store, unit.names[0], summary, unit.probe_sha256)


def rows_fingerprint(resident: ResidentModel, store: Store) -> str:
    """Of what determines χ of any token: the run's inputs, but for which tokens are measured, and
    the sampling and evaluation tokens that its sources gave, which no configuration can promise.
    """
    return fingerprint.digest(
        {
            "run": chain_inputs(run_dir.require(store).inputs),
            "tokens": tokens.read_info(resident.root).fingerprint,
        }
    )


def _records(
    store: Store, groups: Sequence[Group], chains: Sequence[int], *, or_dropped: bool = False
) -> Records:
    """What is kept of some chains."""
    return {
        group.name: [
            chain_records.read_record(store, group.name, chain, or_dropped=or_dropped)
            for chain in chains
        ]
        for group in groups
    }


def _read_sums(
    unit: AssemblyUnit, part: str, resident: ResidentModel, records_of: Records
) -> tuple[dict[str, ChainSums], float]:
    """Sums of every component of one part, and the seconds that its tiles took.

    Those of tiles that several parts share count as the first one's. Tiles that were made before
    the part was asked for have no sums of it: they are removed, to be made again.

    Raises MissingObjectError.
    """
    root, _ = resident.of(unit)
    found, seconds, lacking = {}, 0.0, []
    for group in unit.groups:
        sister = part if part != unit.part else ""
        sums, tile_seconds = tiles.read_tile(root, unit.shard, group.name, sister)
        if any(component.name not in sums for component in group.components):
            lacking.append(tiles.tile_name(unit.shard, group.name))
            continue
        records = records_of[group.name]
        seconds += 0.0 if sister else tile_seconds
        for component in group.components:
            tile = sums[component.name]
            found[component.name] = ChainSums(
                weighted_CN=tile.weighted_CN,
                plain_CN=tile.plain_CN,
                delta_loss=[r.components[component.name].delta_loss for r in records],
                weight=[r.components[component.name].weight for r in records],
            )
    if lacking:
        root.delete_many(lacking)
        raise MissingObjectError(
            f"{root.uri}/{lacking[0]} had no sums of {part or 'the run itself'}: it was made "
            "before they were asked for"
        )
    return found, seconds


def phi_offset(resident: ResidentModel, config: PipelineConfig) -> float:
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
    store: Store, groups: Sequence[Group], records: Records, offset: float, *, num_sets: int = 1
) -> dict[str, dict[str, Any]]:
    """What the chains alone say of every component; `num_sets`: see `chain_summary`."""
    found: dict[str, dict[str, Any]] = {}
    for group in groups:
        pilot = chain_records.read_pilot(store, group.name)
        for c in group.components:
            own = [record.components[c.name] for record in records[group.name]]
            exact = pilot.get(c.name)
            found[c.name] = chain_summary(own, exact, phi_offset=offset, num_sets=num_sets)
    return found


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
