"""Object names of the draw bank, and the objects of each chain in a listing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from spectro.storage.store import ObjectInfo

_MARKER = re.compile(r"chains/(?P<group>[^/]+)/(?P<chain>\d+)(?P<dropped>\.dropped)?\.json")
_BLOCK = re.compile(
    r"chains/(?P<group>[^/]+)/(?P<chain>\d+)/(?P<slot>[^/]+-\d{5,})-[0-9a-f]{16}\.safetensors"
)
_STATE = re.compile(
    r"chains/(?P<group>[^/]+)/state/(?P<first>\d+)-(?P<last>\d+)-\d+-[0-9a-f]{16}\.safetensors"
)


@dataclass
class ChainObjects:
    """Objects of one chain."""

    marker: bool = False
    """Whether the chain is finished and its draws stored."""
    dropped: bool = False
    """Whether the chain was finished and its draws were removed."""
    blocks: set[str] = field(default_factory=set)
    """Blocks of draws, of any writer."""
    states: set[str] = field(default_factory=set)
    """Checkpoints of chain batches with this chain."""

    @property
    def done(self) -> bool:
        """Whether the chain was finished, with or without its draws."""
        return self.marker or self.dropped


def pilot_name(group: str) -> str:
    return f"chains/{group}/pilot.json"


def block_name(group: str, chain: int, component: str, first: int, info: ObjectInfo) -> str:
    """Name of the object with a component's draws from `first` on."""
    return f"chains/{group}/{chain}/{component}-{first:05d}-{info.sha256[:16]}.safetensors"


def record_name(group: str, chain: int) -> str:
    """Name of a chain's marker."""
    return f"chains/{group}/{chain}.json"


def dropped_name(group: str, chain: int) -> str:
    """Name of the marker after the removal of the draws."""
    return f"chains/{group}/{chain}.dropped.json"


def slot_of(name: str) -> str:
    """Component and first draw of a block's name: equal for two writers of the same draws."""
    found = _BLOCK.fullmatch(name)
    assert found is not None, name
    return found["slot"]


def chains_among(names: Iterable[str]) -> dict[tuple[str, int], ChainObjects]:
    """(group, chain) → its objects among these names."""
    found: dict[tuple[str, int], ChainObjects] = {}

    def objects_of(group: str, chain: int) -> ChainObjects:
        return found.setdefault((group, chain), ChainObjects())

    for name in names:
        if marker := _MARKER.fullmatch(name):
            chain_objects = objects_of(marker["group"], int(marker["chain"]))
            chain_objects.marker |= marker["dropped"] is None
            chain_objects.dropped |= marker["dropped"] is not None
        elif block := _BLOCK.fullmatch(name):
            objects_of(block["group"], int(block["chain"])).blocks.add(name)
        elif state := _STATE.fullmatch(name):
            for chain in range(int(state["first"]), int(state["last"]) + 1):
                objects_of(state["group"], chain).states.add(name)
    return found
