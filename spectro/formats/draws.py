"""The draw bank: stored pilots and chains.

chains/<group>/pilot.json       exact moments of every component
chains/<group>/<chain>/<component>-<first>-<first 16 hex of sha256>.safetensors
                                stepped draws, one object per block: block of weights → [R, *shape]
chains/<group>/<chain>.json     marker, put last: ΔL, weights and diagnostics of every component,
                                size and checksum of every object
chains/<group>/<chain>.dropped.json
                                the marker of a chain after the removal of its draws

Independent draws are not stored: their keys regenerate them. A block's name has its checksum, so
that two writers of one chain, whose last bits may differ, never share blocks: the marker, put once,
names the valid ones, and the others are leftovers (ADR 050).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import safetensors.torch
import torch

from spectro.formats.chain_names import (
    ChainObjects,
    block_name,
    chains_among,
    dropped_name,
    pilot_name,
    record_name,
)
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.sampling.recorder import ComponentChain
from spectro.sampling.samplers import Blocks
from spectro.storage.checksummed_json import read_sealed, seal, unseal, with_nan
from spectro.storage.store import ObjectInfo, Store


class OtherDrawsError(ValueError):
    """Regenerated draws differ from those that tokens were measured along."""


@dataclass(frozen=True, kw_only=True)
class ChainRecord:
    """What is stored of a chain besides its draws."""

    components: dict[str, ComponentChain]
    """By component, in the group's order."""
    blocks: dict[str, dict[int, ObjectInfo]]
    """Component → first draw → size and checksum of the object with that block of draws."""
    seconds: float
    """Duration; of chains stepped together, each one's share."""
    together: tuple[int, ...]
    """Chains of its batch, which gives the same bits."""


def write_pilot(store: Store, group: str, pilot: Mapping[str, PosteriorMoments]) -> None:
    """Put a pilot; an existing one is kept."""
    plain = {name: asdict(moments) for name, moments in pilot.items()}
    store.put_if_absent(pilot_name(group), seal(plain))


def read_pilot(store: Store, group: str) -> dict[str, PosteriorMoments]:
    """Posterior moments by component."""
    plain = read_sealed(store, pilot_name(group))
    return {name: PosteriorMoments(**with_nan(moments)) for name, moments in plain.items()}


@dataclass
class DrawWriter:
    """Puts the blocks of one chain as they come, then its marker."""

    store: Store
    group: str
    chain: int
    before: ChainRecord | None = None
    """The record of the chain whose draws are regenerated."""
    blocks: dict[str, dict[int, ObjectInfo]] = field(default_factory=dict)
    """Blocks that were put."""

    def put(self, component: str, first: int, draws: Blocks) -> None:
        """Put one block; raises OtherDrawsError if it differs from the earlier one."""
        data = safetensors.torch.save(
            {block: tensor.detach().cpu().contiguous() for block, tensor in draws.items()}
        )
        info = ObjectInfo.of(data)
        if self.before is not None and (self.before.blocks.get(component, {}).get(first) != info):
            raise OtherDrawsError(
                f"chain {self.chain} of {self.group}: its draws cannot be regenerated on this "
                f"device: those of {component} from draw {first} on differ from those that "
                "its marker names, along which tokens were measured. Continue with the kind of "
                "device, threads and versions of run.yaml, or start a new run"
            )
        name = block_name(self.group, self.chain, component, first, info)
        if not self.store.put_if_absent(name, data):
            info.verify(self.store.read(name), f"{self.store.uri}/{name}")
        self.blocks.setdefault(component, {})[first] = info

    def finish(
        self,
        components: Mapping[str, ComponentChain],
        seconds: float,
        together: Sequence[int] | None = None,
    ) -> None:
        """Put the marker; `together` are the chains of its batch (None: this one alone).

        Regenerated draws keep their earlier record, to the last bit.
        """
        record = ChainRecord(
            components=dict(components),
            blocks=self.blocks,
            seconds=seconds,
            together=tuple(together or [self.chain]),
        )
        marker = seal(_plain_record(self.before or record))
        self.store.put_if_absent(record_name(self.group, self.chain), marker)


def read_record(store: Store, group: str, chain: int, *, or_dropped: bool = False) -> ChainRecord:
    """The marker of a finished chain; with `or_dropped` also after the removal of its draws.

    The dropped marker has precedence: rows were measured along its draws.
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
    """Component → first draw → object, from plain values."""
    return {
        name: {int(first): ObjectInfo(**info) for first, info in infos.items()}
        for name, infos in plain.items()
    }


def plain_blocks(blocks: Mapping[str, Mapping[int, ObjectInfo]]) -> dict[str, Any]:
    """Inverse of `blocks_of`."""
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


class StoredDraws:
    """`DrawSource` of a finished chain's stepped draws.

    Blocks are mostly read in order, so the next one is prefetched by a thread.
    """

    def __init__(
        self, store: Store, group: str, chain: int, record: ChainRecord, device: torch.device
    ) -> None:
        self._store, self._group, self._chain, self._device = store, group, chain, device
        self._infos = record.blocks
        self._order = [(c, first) for c, infos in self._infos.items() for first in sorted(infos)]
        self._held: dict[tuple[str, int], Future[Blocks]] = {}
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="draws")

    def read(self, component: str, draws: slice) -> Blocks:
        """See `DrawSource`; raises DamagedObjectError, in one line."""
        parts: list[Blocks] = []
        firsts = sorted(self._infos[component])
        for first, end in zip(firsts, [*firsts[1:], draws.stop], strict=True):
            start, stop = max(draws.start, first), min(draws.stop, end)
            if start < stop:
                held = self._block(component, first)
                parts.append({b: t[start - first : stop - first] for b, t in held.items()})
        return {
            block: torch.cat([part[block] for part in parts]).to(self._device) for block in parts[0]
        }

    def _block(self, component: str, first: int) -> Blocks:
        """A block of draws; keeps the last block of each component and prefetches the next."""
        position = self._order.index((component, first))
        wanted = self._order[position : position + 2]
        for key in wanted:
            if key not in self._held:
                self._held[key] = self._reader.submit(self._load, *key)
        for key in [k for k in self._held if k[0] == component and k not in wanted]:
            del self._held[key]
        return self._held[component, first].result()

    def _load(self, component: str, first: int) -> Blocks:
        info = self._infos[component][first]
        name = block_name(self._group, self._chain, component, first, info)
        data = self._store.read(name)
        info.verify(data, f"{self._store.uri}/{name}")
        return safetensors.torch.load(data)


def incomplete(store: Store, present: Collection[str]) -> set[str]:
    """Markers among these objects with missing draws.

    A listing may be stale: blocks that it lacks are checked one by one.
    """
    chains = {
        record_name(group, chain): (group, chain, objects.blocks)
        for (group, chain), objects in chains_among(set(present)).items()
        if objects.marker
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
    """Remove all stored draws of finished chains and rename their markers; idempotent and
    resumable.

    Only for a run whose tiles are all done: others read these draws.

    Args:
        store: one part of a run.
        names: existing objects; None: listed here.

    Returns the number of objects removed.
    """
    chains = chains_among(store.list("chains") if names is None else names)
    unfinished = {s for objects in chains.values() if not objects.done for s in objects.states}
    removed = 0
    for (group, chain), objects in chains.items():
        if objects.done:
            removed += _drop(
                store, group, chain, objects, objects.blocks | objects.states - unfinished
            )
    return removed


def _drop(store: Store, group: str, chain: int, objects: ChainObjects, names: set[str]) -> int:
    """Order: copy the marker, remove the marker, remove the draws."""
    marker = record_name(group, chain) if objects.marker and objects.blocks else None
    if marker is not None:
        with suppress(FileNotFoundError):  # another driver has just done so
            store.put_if_absent(dropped_name(group, chain), store.read(marker))
        store.delete(marker)
    for name in sorted(names):
        store.delete(name)
    return len(names)


def _plain(chain: ComponentChain) -> dict[str, Any]:
    plain = {f.name: getattr(chain, f.name) for f in fields(chain)}
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in plain.items()}


def _plain_record(record: ChainRecord) -> dict[str, Any]:
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
    return ComponentChain(**values)
