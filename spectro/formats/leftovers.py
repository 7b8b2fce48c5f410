"""Objects that nobody needs any more: what writers that died or lost a race have left."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress

from spectro.formats.chain_names import ChainObjects, chains_among, slot_of
from spectro.formats.chain_records import block_names, read_record
from spectro.formats.checkpoints import stem_of
from spectro.formats.object_kinds import CLUSTERS, MAP, kind_of
from spectro.formats.predictors import FEATURES, HELD_OUT
from spectro.formats.product import moments_name, part_name
from spectro.formats.tiles import tile_name
from spectro.storage.store import FENCE, Store

_TILE = re.compile(r"tiles/(?P<shard>\d+)/(?P<rest>.+)")
_PAIR = re.compile(r"(?P<folder>neighbours/[^/]+)/pairs/(?P<a>\d+)-(?P<b>\d+)\.safetensors")
_OF_LISTS = re.compile(r"neighbours/[^/]+/")
_ASSIGNED = re.compile(rf"({CLUSTERS})/assigned-[^/]+")
_OF_MAP = re.compile(rf"({MAP})/.+")
_ROUNDS = re.compile(rf"(?P<folder>{CLUSTERS})/state/.+")


def leftovers(store: Store, names: Collection[str]) -> set[str]:
    """Which objects of one part of a run may be deleted, at any time.

    Features once the networks that learnt from them are judged, tiles of assembled shards,
    checkpoints of finished tiles, companies and clusters, pairs of blocks whose neighbour lists are
    there, neighbour lists without their transform and assignments without their clusters, files of
    a map without its map.json (an interrupted removal or writing left them), blocks of draws that a
    finished chain's marker does not name, probes of the fence. A marker is read only where two
    writers have put blocks of the same draws.

    Args:
        store: of that part.
        names: objects that are there, relative to it.
    """
    there = set(names)
    probes = {name for name in there if name.startswith(FENCE)}
    features = {n for n in there if re.fullmatch(FEATURES, n)} if HELD_OUT in there else set()
    return _of_tiles(there) | _of_chains(store, there) | _of_clusters(there) | features | probes


def _of_tiles(names: set[str]) -> set[str]:
    found = set()
    for name in names:
        if tile := _TILE.fullmatch(name):
            shard, stem = int(tile["shard"]), stem_of(name)
            done = stem is not None and tile_name(shard, stem) in names
            if done or {part_name(shard), moments_name(shard)} <= names:
                found.add(name)
    return found


def _of_clusters(names: set[str]) -> set[str]:
    """Pairs of blocks whose lists are there, states of rounds whose clusters are, and orphans."""
    found = set()
    for name in names:
        if _is_orphan(name, names):
            found.add(name)
        elif pair := _PAIR.fullmatch(name):
            merged = {f"{pair['folder']}/lists-{b}.safetensors" for b in (pair["a"], pair["b"])}
            found |= {name} if merged <= names else set()
        elif (state := _ROUNDS.fullmatch(name)) and f"{state['folder']}/cluster.json" in names:
            found.add(name)
    return found


def _is_orphan(name: str, names: set[str]) -> bool:
    """Whether the object that completes it has been removed."""
    if lists := _OF_LISTS.match(name):
        return f"{lists[0]}transform.json" not in names
    if picture := _OF_MAP.fullmatch(name):
        return kind_of(name) == "map_files" and f"{picture[1]}/map.json" not in names
    table = _ASSIGNED.fullmatch(name)
    return table is not None and f"{table[1]}/cluster.json" not in names


def _of_chains(store: Store, names: set[str]) -> set[str]:
    found: set[str] = set()
    unfinished: set[str] = set()
    for (group, chain), own in chains_among(names).items():
        found |= own.states
        unfinished |= set() if own.marker else own.states
        if own.marker and _has_rivals(own):
            with suppress(FileNotFoundError):  # another driver has just dropped it
                record = read_record(store, group, chain)
                found |= own.blocks - block_names(group, chain, record)
    return found - unfinished


def _has_rivals(own: ChainObjects) -> bool:
    """Whether two writers have put blocks of the same draws."""
    slots: dict[str, int] = defaultdict(int)
    for name in own.blocks:
        slots[slot_of(name)] += 1
    return any(count > 1 for count in slots.values())
