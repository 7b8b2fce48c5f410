"""A folder of a cluster map: whose files are in it, and what may be removed (ADR 033).

Only what is certainly of a map is ever removed: objects that its map.json names; without one, data
files beside a whole page that is byte for byte ours, and that page. Anything else is someone's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from spectro.formats.derived_objects import TOKENS, put_derived
from spectro.formats.object_kinds import kind_of
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import DamagedObjectError, ObjectInfo, Store
from spectro.views.map.data_files import MARKER, VOCABULARY
from spectro.views.map.file_names import is_data_name, is_page_name
from spectro.views.viewer.packages import page_files

FOLDER = "map"
Marker = Mapping[str, Any]


def read_marker(store: Store) -> dict[str, Any] | None:
    """map.json of a folder; None where there is none, or one that cannot be trusted."""
    try:
        return read_sealed(store, MARKER)
    except (DamagedObjectError, FileNotFoundError):
        return None


def read_words(store: Store, marker: Marker) -> list[str | None] | None:
    """The vocabulary of the map that is there; None where it is damaged or lost."""
    try:
        data = store.read(VOCABULARY)
        ObjectInfo(**marker["objects"][VOCABULARY]).verify(data, f"{store.uri}/{VOCABULARY}")
    except (DamagedObjectError, FileNotFoundError, KeyError):
        return None
    return list(json.loads(data))


def has_data(store: Store, marker: Marker) -> bool:
    """Whether all data that map.json names are there, in their sizes."""
    there = store.list()
    return all(
        there.get(name) == info["size_bytes"]
        for name, info in marker.get("objects", {}).items()
        if not is_page_name(name)
    )


def put_page(store: Store, marker: Marker, page: Mapping[str, bytes], *, of_run: bool) -> Marker:
    """Bring the page's files up to date, then map.json; gives it as it is then.

    The data stay as they are. Nothing is written where nothing differs. Raises ValueError where
    the folder holds something else.
    """
    infos = {name: asdict(ObjectInfo.of(data)) for name, data in page.items()}
    known, there = marker["objects"], store.list()
    fresh = {
        name
        for name, info in infos.items()
        if known.get(name) == info and there.get(name) == info["size_bytes"]
    }
    stale = [name for name in known if is_page_name(name) and name not in fresh]
    if len(fresh) == len(page) and not stale:
        return marker
    require_own(store, of_run=of_run)
    store.delete(MARKER)
    store.delete_many([*stale, *(page.keys() - fresh)])
    put_all(store, ((name, data) for name, data in page.items() if name not in fresh))
    kept = {name: info for name, info in known.items() if not is_page_name(name)}
    put_derived(store, MARKER, {**marker, "objects": infos | kept}, marker[TOKENS])
    return read_sealed(store, MARKER)


def clear(store: Store, *, of_run: bool) -> None:
    """Remove a map, map.json first, its page last; errors as `require_own`."""
    names = require_own(store, of_run=of_run)
    store.delete(MARKER)
    store.delete_many([name for name in names if not is_page_name(name)])
    store.delete_many(names)


def require_own(store: Store, *, of_run: bool) -> list[str]:
    """Names of what is there of a map.

    Args:
        store: the folder.
        of_run: whether it is a run's own folder of this map, where all such names are the run's.

    Raises ValueError, in one line, if anything else is there.
    """
    there, marker = store.list(), read_marker(store)
    named = set() if marker is None else {MARKER, *marker.get("objects", {})}
    page = dict(page_files()) if there.keys() - named else {}
    ours = {name for name, data in page.items() if name in there and store.read(name) == data}
    is_begun = marker is not None or len(ours) == len(page)  # the page is put first, removed last

    def is_own(name: str) -> bool:
        if of_run and kind_of(f"{FOLDER}/{name}") in ("maps", "map_files"):
            return True
        return name in named or name in ours or (is_begun and is_data_name(name))

    others = [name for name in there if not is_own(name)]
    if others:
        raise ValueError(
            f"{store.uri} holds files that are of no map ({others[0]} …): give a folder that is "
            "empty or holds a map"
        )
    return list(there)


def put_all(store: Store, *sources: Iterable[tuple[str, bytes]]) -> dict[str, Any]:
    """Put every object; sizes and checksums by name. ValueError if some are gone at the end."""
    infos: dict[str, Any] = {}
    for source in sources:
        for name, data in source:
            store.put(name, data)
            infos[name] = asdict(ObjectInfo.of(data))
    there = store.list()
    lost = [name for name, info in infos.items() if there.get(name) != info["size_bytes"]]
    if lost:  # a run that ends tidies what no marker names
        raise ValueError(
            f"{len(lost)} objects of {store.uri} are gone ({lost[0]} …): did another process tidy "
            "the run or write the same map meanwhile? Make it again"
        )
    return infos
