"""Markers of pilots and chains: what is recorded of them beside their draws (draws.py), as JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from spectro.formats.chain_names import (
    ChainObjects,
    block_name,
    chains_among,
    dropped_name,
    pilot_name,
    record_name,
)
from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.storage.checksummed_json import read_sealed, seal, unseal, with_nan
from spectro.storage.store import ObjectInfo, Store


@dataclass(frozen=True, kw_only=True)
class ChainRecord:
    """What is kept of a chain beside its draws."""

    components: dict[str, ComponentChain]
    """By component, in the group's order."""
    blocks: dict[str, dict[int, ObjectInfo]]
    """Component → first draw → size and checksum of the object with that block of draws."""
    seconds: float
    """What it took; of chains that stepped together, each one's share."""
    together: tuple[int, ...]
    """The chains that stepped together, this one among them: in the same company, the same bits."""


def write_pilot(store: Store, group: str, pilot: Mapping[str, PosteriorMoments]) -> None:
    """Put a pilot; one that another writer put first stands."""
    plain = {name: asdict(moments) for name, moments in pilot.items()}
    store.put_if_absent(pilot_name(group), seal(plain))


def read_pilot(store: Store, group: str) -> dict[str, PosteriorMoments]:
    """Moments by component."""
    plain = read_sealed(store, pilot_name(group))
    return {name: PosteriorMoments(**with_nan(moments)) for name, moments in plain.items()}


def read_record(store: Store, group: str, chain: int, *, or_dropped: bool = False) -> ChainRecord:
    """The marker of a finished chain; on request also of one whose draws were removed.

    The marker of removed draws goes first: rows rest on those draws, and whoever puts a
    marker after that has made the same, or was late.
    """
    name = record_name(group, chain)
    if or_dropped and store.exists(dropped_name(group, chain)):
        name = dropped_name(group, chain)
    return _record(store.read(name), f"{store.uri}/{name}")


def _record(data: bytes, name: str) -> ChainRecord:
    marker = unseal(data, name)
    try:
        return ChainRecord(
            components={n: _chain(plain) for n, plain in marker["components"].items()},
            blocks=blocks_of(marker["blocks"]),
            seconds=marker["seconds"],
            together=tuple(marker["together"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{name} is not a marker of a chain: {error!r}") from error


def blocks_of(plain: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[int, ObjectInfo]]:
    """Component → first draw → object, of what JSON has of it."""
    return {
        name: {int(first): ObjectInfo(**info) for first, info in infos.items()}
        for name, infos in plain.items()
    }


def plain_blocks(blocks: Mapping[str, Mapping[int, ObjectInfo]]) -> dict[str, Any]:
    """The same for JSON."""
    return {
        name: {str(first): asdict(info) for first, info in infos.items()}
        for name, infos in blocks.items()
    }


def block_names(group: str, chain: int, record: ChainRecord) -> set[str]:
    """Names of a chain's blocks."""
    return {
        block_name(group, chain, component, first, info)
        for component, infos in record.blocks.items()
        for first, info in infos.items()
    }


def incomplete(store: Store, present: Collection[str]) -> set[str]:
    """Markers among these objects whose draws are not all there any more.

    A listing may be stale: blocks that it lacks are asked for one by one.
    """
    chains = {
        record_name(group, chain): (group, chain, own.blocks)
        for (group, chain), own in chains_among(set(present)).items()
        if own.marker
    }
    found = set()
    gone = set(chains)
    for name, data in store.read_many(chains, missing_ok=True):
        gone.discard(name)
        group, chain, blocks = chains[name]
        unlisted = block_names(group, chain, _record(data, f"{store.uri}/{name}")) - blocks
        if any(not store.exists(block) for block in unlisted):
            found.add(name)
    return found | gone  # another driver has just dropped these


def drop_draws(store: Store, names: Collection[str] | None = None) -> int:
    """Remove all stored draws of finished chains; their markers no longer say that they are there.

    Its other fields are kept under another name. May be broken off and done again at
    any time, and goes on with what a killed one began; where nothing is to do, one listing.

    Only for a run whose tiles are all done: others read these draws.

    Args:
        store: one part of a run.
        names: objects that are there; listed if None.

    Returns the number of objects removed.
    """
    chains = chains_among(store.list("chains") if names is None else names)
    unfinished = {s for own in chains.values() if not own.done for s in own.states}
    removed = 0
    for (group, chain), own in chains.items():
        if own.done:
            removed += _drop(store, group, chain, own, own.blocks | own.states - unfinished)
    return removed


def _drop(store: Store, group: str, chain: int, own: ChainObjects, names: set[str]) -> int:
    """The marker goes before the draws that it names, and under its other name before that."""
    marker = record_name(group, chain) if own.marker and own.blocks else None
    if marker is not None:
        with suppress(FileNotFoundError):  # another driver has just done so
            store.put_if_absent(dropped_name(group, chain), store.read(marker))
        store.delete(marker)
    for name in sorted(names):
        store.delete(name)
    return len(names)


def _plain(chain: ComponentChain) -> dict[str, Any]:
    plain = {f.name: getattr(chain, f.name) for f in fields(chain)}
    observed = {name: phi_T.tolist() for name, phi_T in plain.pop("observables").items()}
    plain |= {"observables": observed} if observed else {}
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in plain.items()}


def plain_record(record: ChainRecord) -> dict[str, Any]:
    return {
        "components": {name: _plain(chain) for name, chain in record.components.items()},
        "blocks": plain_blocks(record.blocks),
        "seconds": record.seconds,
        "together": list(record.together),
    }


def _chain(plain: Mapping[str, Any]) -> ComponentChain:
    arrays = ("delta_loss", "weight", "step_loss")
    values: dict[str, Any] = with_nan(plain)
    values |= {name: np.array(values[name], dtype=np.float64) for name in arrays}
    observed = values.get("observables", {}).items()
    values["observables"] = {name: np.array(phi_T, np.float64) for name, phi_T in observed}
    return ComponentChain(**values)
