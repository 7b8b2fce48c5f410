"""Finds objects that are no longer needed: of dead or late writers, and intermediate results."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress

from spectro.formats.chain_names import ChainObjects, chains_among, slot_of
from spectro.formats.checkpoints import stem_of
from spectro.formats.draws import block_names, read_record
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
    """Objects of one part of a run that may be deleted at any time.

    Features after the evaluation of the predictors; tiles of assembled shards; checkpoints of
    finished tiles, chain batches and clusters; pairs of blocks with finished kNN lists; kNN lists
    without transform, assignments without clusters and map files without map.json; blocks of draws
    that a finished chain's marker does not name; probes of the fence. A marker is read only where
    two writers put blocks of the same draws.

    Args:
        store: of that part.
        names: existing objects, relative to it.
    """
    present = set(names)
    probes = {name for name in present if name.startswith(FENCE)}
    features = {n for n in present if re.fullmatch(FEATURES, n)} if HELD_OUT in present else set()
    return (
        _of_tiles(present) | _of_chains(store, present) | _of_clusters(present) | features | probes
    )


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
    """Whether its completing object was removed."""
    if lists := _OF_LISTS.match(name):
        return f"{lists[0]}transform.json" not in names
    if picture := _OF_MAP.fullmatch(name):
        return kind_of(name) == "map_files" and f"{picture[1]}/map.json" not in names
    table = _ASSIGNED.fullmatch(name)
    return table is not None and f"{table[1]}/cluster.json" not in names


def _of_chains(store: Store, names: set[str]) -> set[str]:
    found: set[str] = set()
    unfinished: set[str] = set()
    for (group, chain), objects in chains_among(names).items():
        found |= objects.states
        unfinished |= set() if objects.marker else objects.states
        if objects.marker and _has_rivals(objects):
            with suppress(FileNotFoundError):  # another driver has just dropped it
                record = read_record(store, group, chain)
                found |= objects.blocks - block_names(group, chain, record)
    return found - unfinished


def _has_rivals(objects: ChainObjects) -> bool:
    """Whether two writers put blocks of the same draws."""
    slots: dict[str, int] = defaultdict(int)
    for name in objects.blocks:
        slots[slot_of(name)] += 1
    return any(count > 1 for count in slots.values())
