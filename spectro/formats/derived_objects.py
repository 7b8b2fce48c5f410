"""Staleness of objects made from all tokens of a run: summary, clusters, pages, maps.

The completing object of each (checksummed JSON) holds the digest of the tokens. Once tokens are
added, stale objects are removed, the completing object first, and recomputed on request.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from typing import Any

from spectro.formats.object_kinds import CLUSTERS, MAP, PAGE
from spectro.formats.product import SUMMARY_NAME
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import DamagedObjectError, Store

logger = logging.getLogger(__name__)
TOKENS = "probe_sha256"
"""Key of the digest of the tokens (`TokensInfo.probe_sha256`) in those objects."""
_CLUSTERS = re.compile(rf"{CLUSTERS}/cluster\.json|neighbours/[^/]+/transform\.json")
_OTHERS = re.compile(rf"{re.escape(SUMMARY_NAME)}|{PAGE}/page\.json|{MAP}/map\.json")
"""Completing objects."""


def put_derived(store: Store, name: str, content: Mapping[str, Any], probe_sha256: str) -> None:
    """Put a completing object; an existing one is kept."""
    store.put_if_absent(name, seal({**content, TOKENS: probe_sha256}))


def remove_stale(
    store: Store, names: Collection[str], probe_sha256: str, *, keep_clusters: bool = False
) -> set[str]:
    """Remove objects of other tokens, and damaged ones; returns the removed names.

    Args:
        store: of one part of a run.
        names: existing objects, relative to it.
        probe_sha256: digest of the present tokens.
        keep_clusters: keep clusters, which still serve to assign added tokens (ADR 029).
    """
    gone: set[str] = set()
    for name in sorted(names):
        is_derived = _OTHERS.fullmatch(name) or (_CLUSTERS.fullmatch(name) and not keep_clusters)
        if is_derived and not _is_current(store, name, probe_sha256):
            logger.info("%s/%s was made from other tokens: removed", store.uri, name)
            stale = [name, *sorted(_completed_by(name, names))]
            for each in stale:  # completing object first
                store.delete(each)
            gone.update(stale)
    return gone


def _completed_by(name: str, names: Collection[str]) -> set[str]:
    """Other objects in a completing object's folder; beside the summary are moments."""
    if name == SUMMARY_NAME:
        return set()
    folder = name.rpartition("/")[0] + "/"
    beside = {other.removeprefix(folder) for other in names if other.startswith(folder)}
    return {f"{folder}{other}" for other in beside if not other.startswith("half-")} - {name}


def _is_current(store: Store, name: str, probe_sha256: str) -> bool:
    try:
        return bool(read_sealed(store, name).get(TOKENS) == probe_sha256)
    except DamagedObjectError:
        return False
    except FileNotFoundError:  # another driver has just removed it
        return True
