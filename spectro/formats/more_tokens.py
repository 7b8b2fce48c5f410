"""Adds probe sequences to a run: further shards, then a marker.

tokens/more-NNN.begun.json   checksummed, before the shards: the addition's inputs; the first of two
                             writers decides, so that no shard mixes two additions
tokens/probe-NNNNN.parquet   the added shards
tokens/more-NNN.json         checksummed, put last: completes the addition
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from spectro.formats.token_shards import content_digest
from spectro.formats.tokens import TokensInfo, more_name, plain_reports, put_shards, read_info
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import Store
from spectro.tokens.sequences import Sequences
from spectro.tokens.sources.source_report import SourceReport

BEGUN = ".begun.json"


def begun_name(addition: int) -> str:
    """Name of the object with the inputs of an unfinished addition."""
    return more_name(addition).replace(".json", BEGUN)


def subset_names(
    info: TokensInfo, first: tuple[str, ...], added: tuple[str, ...]
) -> tuple[str, ...]:
    """All subsets of a run in order: its first, those of its additions, new ones."""
    earlier = [name for addition in info.additions for name in addition["subset_names"]]
    return tuple(dict.fromkeys((*first, *earlier, *added)))


def known_sources(info: TokensInfo) -> dict[str, Any]:
    """Source of every added subset, as plain values."""
    return {n: plain for addition in info.additions for n, plain in addition["sources"].items()}


def write_more(
    store: Store,
    addition: int,
    sequences: Sequences,
    *,
    config: Mapping[str, Any],
    sources: Mapping[str, Any],
    sequences_per_shard: int,
    reports: Mapping[str, SourceReport] | None = None,
) -> TokensInfo:
    """Put one addition: its inputs, its shards, its marker.

    Args:
        store: of the run.
        addition: its number; all before it are complete.
        sequences: the added sequences.
        config: its configuration, as plain values.
        sources: of the subsets that it adds to, as plain values.
        sequences_per_shard: n.
        reports: by subset.

    Raises ValueError if another addition was begun under this number.
    """
    before = read_info(store)
    if len(before.additions) >= addition:
        return before
    content = {
        "config": dict(config),
        "sources": dict(sources),
        "subset_names": list(sequences.subset_names),
        "sequences_per_shard": sequences_per_shard,
        "ids": content_digest(sequences),
    }
    _begin(store, addition, content)
    if store.exists(more_name(addition)):  # another driver has just finished it
        store.delete(begun_name(addition))
        return read_info(store)
    known = before.splits["probe"]
    info = put_shards(
        store,
        "probe",
        sequences,
        sequences_per_shard,
        first_shard=known.num_shards,
        first_sequence=known.num_sequences,
    )
    marker = {
        **content,
        "first_shard": known.num_shards,
        "first_sequence": known.num_sequences,
        "probe": asdict(info),
        "read": plain_reports(reports or {}),
    }
    store.put_if_absent(more_name(addition), seal(marker))
    store.delete(begun_name(addition))
    return read_info(store)


def tidy(store: Store, present: Collection[str]) -> None:
    """Remove `begun` objects of complete additions."""
    for name in present:
        if name.endswith(BEGUN) and name.replace(BEGUN, ".json") in present:
            store.delete(name)


def _begin(store: Store, addition: int, content: Mapping[str, Any]) -> None:
    name = begun_name(addition)
    if store.put_if_absent(name, seal(content)):
        return
    try:
        found = read_sealed(store, name)
    except FileNotFoundError:  # it has just been finished
        return
    if found != content:
        raise ValueError(
            f"{store.uri}/{name}: another addition was begun and not finished (asked for then: "
            f"{_asked(found['config'])}; now: {_asked(content['config'])}): give that one's "
            "more.* to finish it, or delete that object to give it up"
        )


def _asked(config: Mapping[str, Any]) -> str:
    subsets = config.get("subsets")
    of = f" of {', '.join(subsets)}" if subsets else ""
    return f"{config['num_probe_sequences']} sequences per subset{of}"
