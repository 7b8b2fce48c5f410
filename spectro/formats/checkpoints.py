"""Checkpoints: where an unfinished unit stands, one object, put once; the newest whole one counts.

<folder>/<stem>-<position>-<first 16 hex of sha256>.safetensors
                        the snapshot's tensors; its values, and what it is of, in the header

The name carries the checksum of the bytes. The one before is removed after the next is put, so
that a writer killed at any moment leaves one that can be gone on with; a damaged one is passed
over for the one before it, or for the start.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from spectro.sampling.checkpoint import Checkpoint
from spectro.storage.store import Store

logger = logging.getLogger(__name__)
DIGITS = 16
"""Of a checksum, what a name carries."""
_NAME = re.compile(r"(?P<stem>.+)-(?P<position>\d{9,})-(?P<digest>[0-9a-f]{16})\.safetensors")


def chain_folder(group: str) -> str:
    """Folder of the checkpoints of a group's chains."""
    return f"chains/{group}/state"


def chain_stem(company: Sequence[int]) -> str:
    """First part of the names of a company's checkpoints."""
    return f"{company[0]}-{company[-1]}"


def tile_folder(shard: int) -> str:
    """Folder of the checkpoints of a shard's tiles; their stems are the groups."""
    return f"tiles/{shard:05d}/state"


def stem_of(name: str) -> str | None:
    """The stem of a checkpoint's name, with or without its folder; None for other objects."""
    found = _NAME.fullmatch(name.rsplit("/", 1)[-1])
    return found["stem"] if found else None


@dataclass
class CheckpointBank:
    """The checkpoints of one unit."""

    store: Store
    folder: str
    stem: str
    of: str
    """What the computation depends on; checkpoints of anything else are not its own."""
    _own: list[str] = field(default_factory=list)
    """Checkpoints that were put or gone on with here."""

    def newest(
        self, accept: Callable[[Checkpoint], bool] = lambda found: True
    ) -> Checkpoint | None:
        """The newest whole one of the same computation that is accepted; None if there is none."""
        names = [n for n in self.store.list(self.folder) if stem_of(n) == self.stem]
        for name in sorted(names, key=_position, reverse=True):
            found = self._read(name)
            if found is not None and accept(found):
                self._own = [name]
                return found
        return None

    def put(self, position: int, snapshot: Checkpoint) -> None:
        """Put one; those before it are removed then."""
        data = _serialised(snapshot, self.of)
        digest = hashlib.sha256(data).hexdigest()[:DIGITS]
        name = f"{self.folder}/{self.stem}-{position:09d}-{digest}.safetensors"
        self.store.put_if_absent(name, data)
        self.remove(but=name)
        self._own = [name]

    def remove(self, *, but: str = "") -> None:
        """Remove what was put here, of a unit that is done."""
        for name in self._own:
            if name != but:
                self.store.delete(name)

    def _read(self, name: str) -> Checkpoint | None:
        try:
            data = self.store.read(name)
        except FileNotFoundError:  # its writer has just put the next one
            return None
        if hashlib.sha256(data).hexdigest()[:DIGITS] != _digest(name):
            logger.warning(
                "%s/%s is damaged: its bytes are not those of its name; an earlier checkpoint or "
                "the start is taken",
                self.store.uri,
                name,
            )
            return None
        from safetensors.torch import load  # with torch, which names and listings do without

        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        if header["of"] != self.of:
            return None
        return Checkpoint(tensors=load(data), values=json.loads(header["values"]))


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
