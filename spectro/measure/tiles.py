"""Tile units: one token shard scored along the draws of a group's chains."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from spectro.config import PipelineConfig
from spectro.formats import chain_records, draws, tiles
from spectro.formats.checkpoint_bank import CheckpointBank, tile_folder
from spectro.formats.product import has_rows
from spectro.measure.checkpoint_writer import CheckpointWriter
from spectro.measure.resident_model import ResidentModel
from spectro.measure.units import TileUnit
from spectro.models.architecture import GroupModel
from spectro.models.components import Group
from spectro.sampling.draws import JoinedDraws, gaussian_draws
from spectro.sampling.keys import KeyedRandomness
from spectro.storage.background import BackgroundWriter
from spectro.storage.store import Store
from spectro.susceptibility.measurement import scored_chain
from spectro.susceptibility.score import ScoredChain
from spectro.susceptibility.tile_sums import TileSums
from spectro.work.stage import OnProgress, ShouldStop


def run_tile(
    unit: TileUnit,
    resident: ResidentModel,
    on_progress: OnProgress,
    should_stop: ShouldStop,
) -> None:
    """Score one shard along all draws of a group; raises HandedBack when asked to stop.

    Once for all parts that share the draws, but for those whose rows are there already.
    """
    store, config = resident.of(unit)
    group = unit.group.name
    chosen = _lacking(unit, resident)
    records = {
        name: {
            chain: chain_records.read_record(resident.root.child(name), group, chain)
            for chain in config.chain.of_shard(unit.shard)
        }
        for name in chosen
    }
    chains, rows = scored_chains(unit.group, records, resident)
    probe_ids = resident.probe_ids(unit.shard)
    bank = CheckpointBank(store, tile_folder(unit.shard), group, _digest(records, probe_ids))
    with BackgroundWriter() as background:
        writer = CheckpointWriter(
            bank, background, config.run.checkpoint_seconds, should_stop, resumed=bank.newest()
        )
        sums = resident.score(
            unit.group,
            chains,
            probe_ids,
            chain_records.read_pilot(store, group),
            on_progress=on_progress,
            checkpoints=writer.checkpoints(),
        )
    found = {name: _sums_of(name, sums, rows) for name in chosen}
    own = found.pop(unit.part, {})
    tiles.write_tile(store, unit.shard, group, own, writer.seconds, found)
    bank.remove()


def _lacking(unit: TileUnit, resident: ResidentModel) -> list[str]:
    """Parts of a tile that have no rows of its shard yet, the unit's own first."""
    parts = (unit.part, *unit.sisters)
    return [part for part in parts if not has_rows(resident.root.child(part), unit.shard)]


Rows = dict[str, list[tuple[str, int]]]
"""Component → part and chain of every row of its sums."""


def scored_chains(
    group: Group,
    records: Mapping[str, Mapping[int, chain_records.ChainRecord]],
    resident: ResidentModel,
) -> tuple[dict[int, ScoredChain], Rows]:
    """The draws of all parts, each scored once: independent ones are the same in every part.

    Args:
        group: whose draws.
        records: part → chain → what is kept of it.
        resident: for places and configurations.
    """
    chains: dict[int, ScoredChain] = {}
    rows: Rows = {component.name: [] for component in group.components}
    known = resident.config.parts
    for place, own in records.items():
        for chain, record in own.items():
            sharing = {name: _sharing(records, place, chain, name) for name in record.components}
            chosen = {name: parts for name, parts in sharing.items() if parts}
            if not chosen:
                continue
            scored = stored_chain(
                resident.part(group), resident.root.child(place), group.name, chain, record,
                known[place],
            )  # fmt: skip
            chains[len(chains)] = dataclasses.replace(
                scored,
                delta_loss={name: scored.delta_loss[name] for name in chosen},
                weight={
                    name: np.stack([records[p][chain].components[name].weight for p in parts])
                    for name, parts in chosen.items()
                },
                observables={name: scored.observables[name] for name in chosen},
                label=f"{chain} at {place}" if place else str(chain),
            )
            for name, parts in chosen.items():
                rows[name] += [(each, chain) for each in parts]
    return chains, rows


def _sharing(
    records: Mapping[str, Mapping[int, chain_records.ChainRecord]],
    place: str,
    chain: int,
    name: str,
) -> list[str]:
    """Parts whose sums come from a part's draws of a component; none where others' serve it."""
    own = records[place][chain].components[name]
    if not own.independent:
        return [place]
    same = [
        part
        for part, of_part in records.items()
        if of_part[chain].components[name].independent
        and len(of_part[chain].components[name].weight) == len(own.weight)
    ]
    return same if same[0] == place else []


def _sums_of(place: str, sums: Mapping[str, TileSums], rows: Rows) -> dict[str, TileSums]:
    """Sums of one part, chain by chain."""
    found = {}
    for name, tile in sums.items():
        own = [row for row, (part, _) in enumerate(rows[name]) if part == place]
        found[name] = tile.of_chains(own)
    return found


def stored_chain(
    part: GroupModel[Any],
    store: Store,
    group: str,
    chain: int,
    record: chain_records.ChainRecord,
    config: PipelineConfig,
) -> ScoredChain:
    """A finished chain: draws from storage, or from their keys where they are independent."""
    weights = {name: part.weights(name) for name in part.names}
    device = next(iter(weights[part.names[0]].values())).device
    alone = gaussian_draws(weights, config.sampler, chain, KeyedRandomness(seed=config.seed))
    stored = draws.StoredDraws(store, group, chain, record, device)
    return scored_chain(
        JoinedDraws(
            sources={n: alone if c.independent else stored for n, c in record.components.items()}
        ),
        record.components,
        {name: tuple(infos) for name, infos in record.blocks.items()},
    )


def _digest(
    records: Mapping[str, Mapping[int, chain_records.ChainRecord]], probe_ids: Tensor
) -> str:
    """Digest of the inputs of a tile that the run's fingerprint does not cover."""
    found = hashlib.sha256(probe_ids.cpu().numpy().tobytes())
    for part, own in records.items():
        for chain, record in own.items():
            for component in record.components.values():
                found.update(component.delta_loss.tobytes() + component.weight.tobytes())
                for phi_T in component.observables.values():
                    found.update(phi_T.tobytes())
            plain = [part, chain, chain_records.plain_blocks(record.blocks)]
            found.update(json.dumps(plain, sort_keys=True).encode())
    return found.hexdigest()
