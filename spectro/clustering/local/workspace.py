"""Workspace of one seed: a compact copy of the part of the graph that it reaches.

A push visits the same nodes 5 to 50 times, so a node's row is copied when first pushed, with
neighbours renamed to *slots* (0, 1, 2 … in order of first touch). Later visits read contiguous rows
that fit a core's cache whatever the size of the graph.

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
    """CSR arrays for compiled code; see `Graph`."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    weights: NDArray[np.float32]
    degrees: NDArray[np.float64]


class LocalArrays(NamedTuple):
    """The touched part of the graph; only `slot_of` is kept between seeds."""

    slot_of: NDArray[np.int32]
    """Slot of every node, UNTOUCHED or REMOVED, [N]."""
    node: NDArray[np.int32]
    """Node of every slot, [T]."""
    mass: NDArray[np.float64]
    """r / degree and 1 / degree in one cache line, [T, 2]."""
    score: NDArray[np.float64]
    """p / degree, above 0 where the node was pushed, [T]."""
    start: NDArray[np.int64]
    """First entry of the copied row, −1 if not copied, [T]."""
    end: NDArray[np.int64]
    """One past its last entry, [T]."""
    queue: NDArray[np.int32]
    """Slots to push in this turn and the next, and one spare, [2, T + 1]."""
    entry_slot: NDArray[np.int32]
    """Neighbours in copied rows, without removed ones, [L]."""
    entry_weight: NDArray[np.float32]
    """Their weights, [L]."""


class Workspace:
    """Memory of one worker: 4 bytes per node, 44 per touched node, 8 per copied entry.

    Only pushed nodes' rows are copied, so `max_pushes` bounds it: 10 000 rows of 75 entries are 6
    MB. Capacities double on demand.
    """

    def __init__(self, removed: NDArray[np.uint8]) -> None:
        slot_of = np.where(removed == 1, np.int32(REMOVED), np.int32(UNTOUCHED))
        self.local = _local(slot_of, min(removed.size, FIRST_SLOTS), FIRST_ENTRIES)

    def remove(self, nodes: NDArray[np.int32]) -> None:
        """Mass that enters these nodes is lost from now on."""
        self.local.slot_of[nodes] = REMOVED

    def grow(self, num_slots: int, num_entries: int) -> None:
        """Grow to at least this many slots and entries; contents are lost."""
        slots = max(2 * self.local.node.size, num_slots)
        entries = max(2 * self.local.entry_slot.size, num_entries)
        self.local = _local(self.local.slot_of, min(slots, self.local.slot_of.size), entries)


def _local(slot_of: NDArray[np.int32], num_slots: int, num_entries: int) -> LocalArrays:
    return LocalArrays(
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
def touch(csr: LocalCsr, local: LocalArrays, node: int, slot: int) -> None:
    """Assign a slot to an untouched node."""
    local.slot_of[node] = slot
    local.node[slot] = node
    local.mass[slot, 0] = 0.0
    local.mass[slot, 1] = 1.0 / csr.degrees[node] if csr.degrees[node] > 0.0 else 1.0
    local.score[slot] = 0.0
    local.start[slot] = -1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def copy_row(csr: LocalCsr, local: LocalArrays, slot: int, num_slots: int, num_entries: int) -> int:
    """Copy the row of a slot's node after `num_entries`; returns the new number of slots.

    The caller ensures room for the whole row.
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
def reset(local: LocalArrays, num_slots: int) -> None:
    """Restore the workspace after a seed."""
    for slot in range(num_slots):
        local.slot_of[local.node[slot]] = UNTOUCHED
