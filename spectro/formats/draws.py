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

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import safetensors.torch
import torch

from spectro.formats.chain_names import block_name, record_name
from spectro.formats.chain_records import ChainRecord, plain_record
from spectro.formats.safetensors_buffer import shared_tensors
from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.samplers import Blocks
from spectro.storage.checksummed_json import seal
from spectro.storage.store import ObjectInfo, Store


class OtherDrawsError(ValueError):
    """Regenerated draws differ from those that tokens were measured along."""


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
            found = self.store.read_hashed(name, info.size_bytes)[1]
            info.require(found, f"{self.store.uri}/{name}")
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
        marker = seal(plain_record(self.before or record))
        self.store.put_if_absent(record_name(self.group, self.chain), marker)


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
        data, found = self._store.read_hashed(name, info.size_bytes)
        info.require(found, f"{self._store.uri}/{name}")
        return shared_tensors(data)[0]
