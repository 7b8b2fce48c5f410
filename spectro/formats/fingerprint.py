"""Fingerprint of a run's inputs, and the differences between two runs.

Inputs are nested plain values that determine the numbers: digest of the model weights, tokens,
components, sampler, chain, estimator, seed, version of the formats. Workers, threads, logging and
the URI are not inputs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

FORMAT_VERSION = 5
"""Increased when the same configuration gives other numbers or other files."""


PROBE_FIELDS = ("tokens.num_probe_sequences", "tokens.sequences_per_shard")
"""Fields that only choose which tokens are measured: the draws serve any of them."""


class OtherRunError(ValueError):
    """A folder holds a run of another configuration."""


def digest(inputs: Mapping[str, Any]) -> str:
    """Hex digest of the inputs, independent of the order of their keys."""
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Every field in which two inputs differ, as `field: old → new`."""
    flat_old, flat_new = dict(_flatten(old, "")), dict(_flatten(new, ""))
    names = [*flat_old, *(name for name in flat_new if name not in flat_old)]
    absent = "absent"
    return [
        f"{name}: {flat_old.get(name, absent)} → {flat_new.get(name, absent)}"
        for name in names
        if flat_old.get(name, absent) != flat_new.get(name, absent)
    ]


def require_same(
    uri: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    cure: str = "give another run.uri, or remove that folder",
) -> None:
    """Raise OtherRunError, in one line with every difference, unless the inputs agree."""
    found = differences(old, new)
    if found:
        if all(line.split(":")[0] in PROBE_FIELDS for line in found):
            cure = (
                "to measure more tokens along its draws give run.uri, tokens=more and "
                "more.num_probe_sequences=<sequences per subset in all>, and nothing else"
            )
        raise OtherRunError(
            f"{uri} holds a run of another configuration ({'; '.join(found)}): {cure}"
        )


def _flatten(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flatten(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, json.dumps(value, ensure_ascii=False)
