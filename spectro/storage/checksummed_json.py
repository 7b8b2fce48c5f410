"""Small JSON objects that carry their own checksum: markers, summaries, heartbeats.

    {"…": …, "sha256": digest of everything else}

JSON has no NaN and no infinity: both become null, and `with_nan` turns null back into NaN.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from spectro.storage.store import DamagedObjectError, Store

DIGEST = "sha256"


def seal(content: Mapping[str, Any]) -> bytes:
    """Bytes of a dictionary of plain values with its checksum; the same content gives the same
    bytes.
    """
    plain = _without_nan(dict(content))
    return json.dumps({**plain, DIGEST: _digest(plain)}, indent=1, ensure_ascii=False).encode()


def unseal(data: bytes, name: str) -> dict[str, Any]:
    """Content of a checksummed object's bytes; raises DamagedObjectError, in one line."""
    try:
        content = dict(json.loads(data))
        found = content.pop(DIGEST)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedObjectError(
            f"{name} is damaged: it is not a JSON object with a checksum ({error!r}); delete it to "
            "have it made again"
        ) from error
    if found != _digest(content):
        raise DamagedObjectError(
            f"{name} is damaged: its checksum is not that of its content; delete it to have it "
            "made again"
        )
    return content


def read_sealed(store: Store, name: str) -> dict[str, Any]:
    """Content of a checksummed object of a store; raises FileNotFoundError, DamagedObjectError."""
    return unseal(store.read(name), f"{store.uri}/{name}")


def with_nan(value: Any) -> Any:
    """The same value with NaN for every null."""
    if isinstance(value, dict):
        return {key: with_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_nan(item) for item in value]
    return math.nan if value is None else value


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _digest(plain: Mapping[str, Any]) -> str:
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
