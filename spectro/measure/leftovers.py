"""Objects of a measurement that may be deleted: left by writers that died or lost a race."""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import suppress

from spectro.formats.chain_names import ChainObjects, chains_among, pilot_name, slot_of
from spectro.formats.chain_records import block_names, read_record
from spectro.formats.checkpoint_bank import PILOT_STEM, stem_of
from spectro.formats.product import moments_name, part_name
from spectro.formats.tiles import tile_name
from spectro.storage.store import Store

_TILE = re.compile(r"tiles/(?P<shard>\d+)/(?P<rest>.+)")


def leftovers_of_tiles(store: Store, names: set[str]) -> set[str]:
    """Tiles of assembled shards, checkpoints of finished tiles."""
    found = set()
    for name in names:
        if tile := _TILE.fullmatch(name):
            shard, stem = int(tile["shard"]), stem_of(name)
            done = stem is not None and tile_name(shard, stem) in names
            if done or {part_name(shard), moments_name(shard)} <= names:
                found.add(name)
    return found


def leftovers_of_chains(store: Store, names: set[str]) -> set[str]:
    """Checkpoints of finished pilots and chains, draws that no marker of a finished chain names.

    A marker is read only where two writers have put blocks of the same draws.
    """
    found = {name for name in names if _is_of_finished_pilot(name, names)}
    unfinished: set[str] = set()
    for (group, chain), own in chains_among(names).items():
        found |= own.states
        unfinished |= set() if own.marker else own.states
        if own.marker and _has_rivals(own):
            with suppress(FileNotFoundError):  # another driver has just dropped it
                record = read_record(store, group, chain)
                found |= own.blocks - block_names(group, chain, record)
    return found - unfinished


def _is_of_finished_pilot(name: str, names: set[str]) -> bool:
    group = name.split("/")[1:2]
    return bool(group) and stem_of(name) == PILOT_STEM and pilot_name(*group) in names


def _has_rivals(own: ChainObjects) -> bool:
    """Whether two writers have put blocks of the same draws."""
    slots: dict[str, int] = defaultdict(int)
    for name in own.blocks:
        slots[slot_of(name)] += 1
    return any(count > 1 for count in slots.values())
