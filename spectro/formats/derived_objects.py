"""Staleness of objects made from all tokens of a run: summary, clusters, pages, maps.

The completing object of each (checksummed JSON) holds the digest of the tokens. Once tokens are
added, stale objects are removed (`work/registry.py`) and recomputed on request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spectro.storage.checksummed_json import seal
from spectro.storage.store import Store

TOKENS = "probe_sha256"
"""Key of the digest of the tokens (`TokensInfo.probe_sha256`) in those objects."""


def put_derived(store: Store, name: str, content: Mapping[str, Any], probe_sha256: str) -> None:
    """Put a completing object; an existing one is kept."""
    store.put_if_absent(name, seal({**content, TOKENS: probe_sha256}))
