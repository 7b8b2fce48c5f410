"""What one seed at a time works in: a small copy of the part of the graph that it reaches.

A push comes back to the same nodes again and again, 5 to 50 times each. So a node's row is copied
when it is first pushed, with neighbours renamed to *slots* (0, 1, 2 … in order of first touch);
from then on every visit reads a contiguous row and hits arrays of as many entries as the seed
has touched, which fit a core's cache whatever the size of the graph.

Shapes: N nodes, T slots, L entries of copied rows.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

UNTOUCHED = -1
REMOVED = -2
FIRST_SLOTS = 2**14
FIRST_ENTRIES = 2**17


class LocalCsr(NamedTuple):
    """The graph as compiled code takes it; see `Graph`."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    weights: NDArray[np.float32]
    degrees: NDArray[np.float64]


class Local(NamedTuple):
    """The touched part of the graph; only `slot_of` means anything between seeds."""

    slot_of: NDArray[np.int32]
    """Slot of every node, UNTOUCHED or REMOVED, [N]."""
    node: NDArray[np.int32]
    """Node of every slot, [T]."""
    mass: NDArray[np.float64]
    """r / degree and 1 / degree side by side: one visit, one cache line, [T, 2]."""
    score: NDArray[np.float64]
    """p / degree, above 0 where the node was pushed, [T]."""
    start: NDArray[np.int64]
    """First entry of the slot's copied row, −1 where it has not been copied, [T]."""
    end: NDArray[np.int64]
    """One past its last entry, [T]."""
    queue: NDArray[np.int32]
    """Slots to push in this turn and in the next, and one to spare, [2, T + 1]."""
    entry_slot: NDArray[np.int32]
    """Neighbours in copied rows, without removed ones, [L]."""
    entry_weight: NDArray[np.float32]
    """Their weights, [L]."""


class Workspace:
    """Memory of one worker: 4 bytes per node, 44 per touched node, 8 per copied entry.

    Rows are copied for pushed nodes only, so `max_pushes` bounds what a seed can need: 10 000 rows
    of 75 entries are 6 MB, in a graph of any size. Capacities double when a seed needs more.
    """

    def __init__(self, removed: NDArray[np.uint8]) -> None:
        slot_of = np.where(removed == 1, np.int32(REMOVED), np.int32(UNTOUCHED))
        self.local = _local(slot_of, min(removed.size, FIRST_SLOTS), FIRST_ENTRIES)

    def remove(self, nodes: NDArray[np.int32]) -> None:
        """Mass that steps on these nodes is gone from now on."""
        self.local.slot_of[nodes] = REMOVED

    def grow(self, num_slots: int, num_entries: int) -> None:
        """Make room for at least this many slots and entries; what was there is lost."""
        slots = max(2 * self.local.node.size, num_slots)
        entries = max(2 * self.local.entry_slot.size, num_entries)
        self.local = _local(self.local.slot_of, min(slots, self.local.slot_of.size), entries)


def _local(slot_of: NDArray[np.int32], num_slots: int, num_entries: int) -> Local:
    return Local(
        slot_of=slot_of,
        node=np.empty(num_slots, np.int32),
        mass=np.empty((num_slots, 2), np.float64),
        score=np.empty(num_slots, np.float64),
        start=np.empty(num_slots, np.int64),
        end=np.empty(num_slots, np.int64),
        queue=np.empty((2, num_slots + 1), np.int32),
        entry_slot=np.empty(num_entries, np.int32),
        entry_weight=np.empty(num_entries, np.float32),
    )


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def touch(csr: LocalCsr, local: Local, node: int, slot: int) -> None:
    """Give an untouched node this slot."""
    local.slot_of[node] = slot
    local.node[slot] = node
    local.mass[slot, 0] = 0.0
    local.mass[slot, 1] = 1.0 / csr.degrees[node] if csr.degrees[node] > 0.0 else 1.0
    local.score[slot] = 0.0
    local.start[slot] = -1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def copy_row(csr: LocalCsr, local: Local, slot: int, num_slots: int, num_entries: int) -> int:
    """Copy the row of a slot's node behind `num_entries`; the number of slots afterwards.

    The caller has made sure that there is room for the whole row.
    """
    node = local.node[slot]
    local.start[slot] = num_entries
    for entry in range(csr.indptr[node], csr.indptr[node + 1]):
        neighbour = csr.indices[entry]
        found = local.slot_of[neighbour]
        if found == REMOVED:
            continue
        if found == UNTOUCHED:
            found = num_slots
            touch(csr, local, neighbour, found)
            num_slots += 1
        local.entry_slot[num_entries] = found
        local.entry_weight[num_entries] = csr.weights[entry]
        num_entries += 1
    local.end[slot] = num_entries
    return num_slots


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def forget(local: Local, num_slots: int) -> None:
    """Leave the workspace as it was before the seed."""
    for slot in range(num_slots):
        local.slot_of[local.node[slot]] = UNTOUCHED
