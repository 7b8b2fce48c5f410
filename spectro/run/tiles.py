"""Tile units: draws of a group's chains, wherever they come from, against one token shard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.groups import group_model
from spectro.run.checkpoints import Keeper
from spectro.run.config import PipelineConfig
from spectro.run.units import TileUnit
from spectro.sampling.draws import JoinedDraws, gaussian_draws
from spectro.sampling.keys import KeyedRandomness
from spectro.storage import draws, tiles
from spectro.storage.background import Background
from spectro.storage.checkpoints import CheckpointBank, tile_folder
from spectro.storage.fs import Store
from spectro.susceptibility.score import ScoredChain, score_tile

if TYPE_CHECKING:
    from spectro.run.execute import Resident


def run_tile(
    unit: TileUnit,
    resident: Resident,
    on_progress: Callable[[float, float], None],
    leave: Callable[[], bool],
) -> None:
    """Score one shard along all draws of a group; raises HandedBack when told to leave."""
    store, config = resident.of(unit)
    group, part = unit.group.name, group_model(resident.model, unit.group)
    records = {c: draws.read_record(store, group, c) for c in config.chain.of_shard(unit.shard)}
    chains = {
        chain: scored_chain(part, store, group, chain, record, config)
        for chain, record in records.items()
    }
    probe_ids = resident.probe_ids(unit.shard)
    bank = CheckpointBank(store, tile_folder(unit.shard), group, _digest(records, probe_ids))
    with Background() as background:
        keeper = Keeper(
            bank, background, config.run.checkpoint_seconds, leave, resumed=bank.newest()
        )
        sums = score_tile(
            part,
            chains,
            probe_ids,
            scoring=resident.scoring(draws.read_pilot(store, group)),
            on_progress=on_progress,
            checkpoints=keeper.checkpoints(),
        )
    tiles.write_tile(store, unit.shard, group, sums, keeper.seconds)
    bank.remove()


def scored_chain(
    part: GroupModel[Any],
    store: Store,
    group: str,
    chain: int,
    record: draws.ChainRecord,
    config: PipelineConfig,
) -> ScoredChain:
    """A finished chain's draws, wherever they come from, and the weights they count with."""
    weights = {name: part.weights(name) for name in part.names}
    device = next(iter(weights[part.names[0]].values())).device
    alone = gaussian_draws(weights, config.sampler, chain, KeyedRandomness(seed=config.seed))
    stored = draws.StoredDraws(store, group, chain, record, device)
    return ScoredChain(
        draws=JoinedDraws(
            sources={n: alone if c.independent else stored for n, c in record.components.items()}
        ),
        delta_loss={name: c.delta_loss for name, c in record.components.items()},
        weight={name: c.weight for name, c in record.components.items()},
        blocks={name: tuple(infos) for name, infos in record.blocks.items()},
    )


def _digest(records: Mapping[int, draws.ChainRecord], probe_ids: Tensor) -> str:
    """What the sums of a tile depend on, beside the run's fingerprint."""
    found = hashlib.sha256(probe_ids.cpu().numpy().tobytes())
    for chain, record in records.items():
        for component in record.components.values():
            found.update(component.delta_loss.tobytes() + component.weight.tobytes())
        plain = [chain, draws.plain_blocks(record.blocks)]
        found.update(json.dumps(plain, sort_keys=True).encode())
    return found.hexdigest()
