"""What is made from all tokens of a run, and goes stale when tokens are added.

The small sealed object that completes the summary, clusters, a page or a map says of which tokens
it is; once the run has others, it is removed and made again when it is asked for
(`work/registry.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spectro.storage.checksummed_json import seal
from spectro.storage.store import Store

TOKENS = "probe_sha256"
"""Key of the digest of the tokens (`TokensInfo.probe_sha256`) in those objects."""


def put_derived(store: Store, name: str, content: Mapping[str, Any], probe_sha256: str) -> None:
    """Put a completing object; one that another writer put first is kept."""
    store.put_if_absent(name, seal({**content, TOKENS: probe_sha256}))
