"""Objects of the cluster stage that may be deleted."""

from __future__ import annotations

import re

from spectro.formats.object_kinds import CLUSTERS
from spectro.storage.store import Store

_PAIR = re.compile(r"(?P<folder>neighbours/[^/]+)/pairs/(?P<a>\d+)-(?P<b>\d+)\.safetensors")
_OF_LISTS = re.compile(r"neighbours/[^/]+/")
_ASSIGNED = re.compile(rf"(?P<folder>{CLUSTERS})/assigned-[^/]+")
_ROUNDS = re.compile(rf"(?P<folder>{CLUSTERS})/state/.+")


def leftovers_of_lists(store: Store, names: set[str]) -> set[str]:
    """Pairs of blocks whose kNN lists are there, lists without their transform."""
    found = set()
    for name in names:
        lists, pair = _OF_LISTS.match(name), _PAIR.fullmatch(name)
        if lists and f"{lists[0]}transform.json" not in names:
            found.add(name)
        elif pair:
            merged = {f"{pair['folder']}/lists-{b}.safetensors" for b in (pair["a"], pair["b"])}
            found |= {name} if merged <= names else set()
    return found


def leftovers_of_clusters(store: Store, names: set[str]) -> set[str]:
    """Checkpoints of rounds whose clusters are there, assignments without their clusters."""
    found = set()
    for name in names:
        rounds, assigned = _ROUNDS.fullmatch(name), _ASSIGNED.fullmatch(name)
        if rounds and f"{rounds['folder']}/cluster.json" in names:
            found.add(name)
        if assigned and f"{assigned['folder']}/cluster.json" not in names:
            found.add(name)
    return found
