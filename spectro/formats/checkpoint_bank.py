"""Stored checkpoints of unfinished units: one object each, put once; the newest whole one is used.

<folder>/<stem>-<position>-<first 16 hex of sha256>.safetensors

Tensors of the snapshot; its values and what it belongs to in the header. The previous checkpoint is
removed after the next is put, so that a killed writer always leaves one to resume from; a damaged
one is skipped for the one before it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from spectro.sampling.checkpoint import Checkpoint
from spectro.storage.store import DamagedObjectError, Store

logger = logging.getLogger(__name__)
PILOT_STEM = "pilot"
"""First part of the names of a pilot's checkpoints, beside those of its group's chains."""
DIGITS = 16
"""Hex digits of the checksum in a name."""
_NAME = re.compile(r"(?P<stem>.+)-(?P<position>\d{9,})-(?P<digest>[0-9a-f]{16})\.safetensors")


def chain_folder(group: str) -> str:
    """Folder of the checkpoints of a group's chains."""
    return f"chains/{group}/state"


def chain_stem(chains: Sequence[int]) -> str:
    """First part of the names of a chain batch's checkpoints."""
    return f"{chains[0]}-{chains[-1]}"


def tile_folder(shard: int) -> str:
    """Folder of the checkpoints of a shard's tiles; the stems are the groups."""
    return f"tiles/{shard:05d}/state"


def stem_of(name: str) -> str | None:
    """Stem of a checkpoint's name, with or without folder; None for other objects."""
    found = _NAME.fullmatch(name.rsplit("/", 1)[-1])
    return found["stem"] if found else None


@dataclass
class CheckpointBank:
    """The checkpoints of one unit."""

    store: Store
    folder: str
    stem: str
    of: str
    """Digest of the computation's inputs; checkpoints of other inputs are ignored."""
    _own: list[str] = field(default_factory=list)
    """Names of checkpoints put or resumed from here."""

    def newest(
        self, accept: Callable[[Checkpoint], bool] = lambda found: True
    ) -> Checkpoint | None:
        """The newest whole checkpoint of the same computation that is accepted, or None."""
        sizes = {n: s for n, s in self.store.list(self.folder).items() if stem_of(n) == self.stem}
        for name in sorted(sizes, key=_position, reverse=True):
            found = self._read(name, sizes[name])
            if found is not None and accept(found):
                self._own = [name]
                return found
        return None

    def put(self, position: int, snapshot: Checkpoint) -> None:
        """Put a checkpoint and remove the ones before it."""
        data = _serialised(snapshot, self.of)
        digest = hashlib.sha256(data).hexdigest()[:DIGITS]
        name = f"{self.folder}/{self.stem}-{position:09d}-{digest}.safetensors"
        self.store.put_if_absent(name, data)
        self.remove(but=name)
        self._own = [name]

    def remove(self, *, but: str = "") -> None:
        """Remove the checkpoints of a finished unit."""
        for name in self._own:
            if name != but:
                self.store.delete(name)

    def _read(self, name: str, size_bytes: int) -> Checkpoint | None:
        try:
            data, info = self.store.read_hashed(name, size_bytes)
        except FileNotFoundError:  # its writer has just put the next one
            return None
        except DamagedObjectError as error:
            logger.warning("%s; resuming from an earlier checkpoint or from the start", error)
            return None
        if info.sha256[:DIGITS] != _digest(name):
            logger.warning(
                "%s/%s is damaged: its bytes differ from the checksum in its name; resuming from "
                "an earlier checkpoint or from the start",
                self.store.uri,
                name,
            )
            return None
        # with torch, which names and listings do without
        from spectro.formats.safetensors_buffer import shared_tensors

        tensors, header = shared_tensors(data)
        if header["of"] != self.of:
            return None
        return Checkpoint(tensors=tensors, values=json.loads(header["values"]))


def _serialised(snapshot: Checkpoint, of: str) -> bytes:
    from safetensors.torch import save  # see above

    tensors = {name: t.detach().cpu().contiguous() for name, t in snapshot.tensors.items()}
    header = {"of": of, "values": json.dumps(snapshot.values)}
    return save(tensors, header)


def _position(name: str) -> int:
    found = _NAME.fullmatch(name)
    return int(found["position"]) if found else -1


def _digest(name: str) -> str:
    found = _NAME.fullmatch(name)
    return found["digest"] if found else ""
