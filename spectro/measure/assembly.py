"""Assembly of a token shard from its tiles, and the summary of all shards."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.config import chain_inputs
from spectro.formats import chain_records, fingerprint, product, run_dir, tiles, tokens
from spectro.formats.derived_objects import put_derived
from spectro.formats.halves import halves_table
from spectro.measure.resident_model import ResidentModel
from spectro.measure.tokenise import model_size
from spectro.measure.units import AssemblyUnit, SummaryUnit
from spectro.models.components import Group
from spectro.models.overlap import overlap_warnings
from spectro.sampling.component_chain import ComponentChain
from spectro.storage.checksummed_json import with_nan
from spectro.storage.store import MissingObjectError, Store
from spectro.susceptibility.columns import TokenEstimates, estimate
from spectro.susceptibility.estimator import ChainSums
from spectro.susceptibility.measurement import chain_sums
from spectro.susceptibility.reliability import ColumnEstimate, ColumnMoments, merge, reliability
from spectro.susceptibility.summary import ChainSummary, chain_summaries, column_summary
from spectro.susceptibility.warnings import chain_warnings
from spectro.work.stage import OnProgress, ShouldStop

logger = logging.getLogger(__name__)
Records = Mapping[str, Sequence[chain_records.ChainRecord]]
"""Group → records of some of its chains, in their order."""


def assemble_shard(
    unit: AssemblyUnit, resident: ResidentModel, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Estimate χ from a shard's tiles for every part that they are of; remove the tiles.

    A part whose rows are there is left as it is.
    """
    root, config = resident.of(unit)
    sequence_id_n, sequences = resident.probe_shard(unit.shard)
    loss_N = resident.losses(resident.probe_ids(unit.shard)).reshape(-1)
    offset = resident.phi_offset(config)
    for part in (unit.part, *unit.sisters):
        if product.has_rows(resident.root.child(part), unit.shard):
            continue
        records = _records(
            resident.root.child(part), unit.groups, config.chain.of_shard(unit.shard)
        )
        sums, seconds = _read_sums(unit, part, resident, records)
        names = [c.name for c in resident.model.shape.select(config.components)]
        found = estimate(sums, names, config.estimator.kind, loss_N, phi_offset=offset)
        columns = tuple(column for column in found.token_columns if column.stored)
        rows = product.ShardRows(
            ids_nT1=sequences.ids_ST1,
            sequence_id_n=sequence_id_n,
            subset_n=sequences.subset_S,
            subset_names=sequences.subset_names,
            values=found.values(columns),
            columns=columns,
        )
        _put_part(unit, part, resident, found, rows, records, offset=offset, seconds=seconds)
    for group in unit.groups:
        root.delete(tiles.tile_name(unit.shard, group.name))


def _put_part(
    unit: AssemblyUnit,
    part: str,
    resident: ResidentModel,
    found: TokenEstimates,
    rows: product.ShardRows,
    records: Records,
    *,
    offset: float,
    seconds: float,
) -> None:
    """Put rows, halves and moments of one part."""
    store, config = resident.root.child(part), resident.config.parts[part]
    centred_H = found.centred_reliability()
    moments = {name: column.moments for name, column in found.columns.items()}
    summary = column_summary(
        moments,
        _chain_summaries(store, unit.groups, records, offset, nbeta=config.sampler.nbeta),
        centred_H,
    )
    table = product.shard_table(rows, found.components, rows_fingerprint(resident, store), summary)
    shard = {
        "moments": {name: plain_moments(column) for name, column in found.columns.items()},
        "centred_reliability": centred_H.tolist(),
        "phi_offset": offset,
        "response": None if found.response is None else plain_moments(found.response),
        "seconds": seconds,
    }
    halves = found.halves() if config.run.keep_halves else None
    kept = None if halves is None else halves_table(table, halves)
    product.put_part(store, unit.shard, table, shard, kept)


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
    of_chains = _chain_summaries(
        store,
        unit.groups,
        records,
        shards[0]["phi_offset"],
        nbeta=config.sampler.nbeta,
        num_sets=len(chains) // config.chain.num_chains,
    )
    summary = column_summary(merged, of_chains, mean_over_shards(shards))
    responses = [shard["response"] for shard in shards if shard.get("response")]
    if responses:
        of_response = reduce(merge, [column_moments(plain) for plain in responses])
        summary["response_reliability"] = reliability(of_response)
    summary["seconds"] = {
        "chains": sum(record.seconds for own in records.values() for record in own),
        "tiles": sum(shard["seconds"] for shard in shards),
    }
    size = model_size(config)
    summary["warnings"] = [
        *chain_warnings(of_chains, config.sampler.gamma),
        *overlap_warnings(
            size.select(config.components), size, lambda own: resident.model.blocks(own)
        ),
    ]
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
    """Records of some chains."""
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
    seconds, lacking = 0.0, []
    found: dict[str, ChainSums] = {}
    for group in unit.groups:
        sister = part if part != unit.part else ""
        sums, tile_seconds = tiles.read_tile(root, unit.shard, group.name, sister)
        if any(component.name not in sums for component in group.components):
            lacking.append(tiles.tile_name(unit.shard, group.name))
            continue
        chains = _component_chains(group, records_of)
        seconds += 0.0 if sister else tile_seconds
        found |= chain_sums(sums, chains)
    if lacking:
        root.delete_many(lacking)
        raise MissingObjectError(
            f"{root.uri}/{lacking[0]} had no sums of {part or 'the run itself'}: it was made "
            "before they were asked for"
        )
    return found, seconds


def _component_chains(group: Group, records: Records) -> dict[str, list[ComponentChain]]:
    """Component → its chains."""
    return {
        component.name: [record.components[component.name] for record in records[group.name]]
        for component in group.components
    }


def _chain_summaries(
    store: Store,
    groups: Sequence[Group],
    records: Records,
    offset: float,
    *,
    nbeta: float,
    num_sets: int = 1,
) -> dict[str, ChainSummary]:
    """Statistics of the chains of every component; arguments as in `chain_summary`."""
    found: dict[str, ChainSummary] = {}
    for group in groups:
        found |= chain_summaries(
            _component_chains(group, records),
            chain_records.read_pilot(store, group.name),
            nbeta=nbeta,
            phi_offset=offset,
            num_sets=num_sets,
        )
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
