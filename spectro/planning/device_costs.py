"""Time and peak memory of counted work on a device.

Time is arithmetic at the device's rates plus bytes at its storage's, one after the other. A
stage ends when its last unit does: units go to the first device that is free, the longest first.
Device memory is in device_peaks.py, at the batch that the run would choose.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from spectro.models.components import Component, Group
from spectro.models.cost import memory
from spectro.models.cost.budget import SHARE_OF_MEMORY
from spectro.models.scoring import TOP_K_SHARE
from spectro.models.size import ModelSize
from spectro.planning.config import PRODUCT_BYTES
from spectro.planning.rates import Rates
from spectro.planning.schedules import Schedules
from spectro.planning.unit_work import (
    FLOAT_BYTES,
    MeasurementSize,
    Work,
    block_size,
    kept_bytes,
)
from spectro.storage.background import MAX_PENDING

DOUBLE_BYTES = 8
COPIES_OF_CHECKPOINT = 4
"""δ, proposal and gradient of a Metropolis step, and the first draw while the distance of draws is
measured; other rules have less."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """What the work is done on."""

    rates: Rates
    """Its rates."""
    precision: str
    """Type of the products."""
    num_devices: int
    """How many there are."""

    @property
    def type(self) -> str:
        """`cuda` if the rates name device memory, else `cpu`."""
        return "cpu" if self.rates.memory_bytes is None else "cuda"

    @property
    def product_bytes(self) -> int:
        """Bytes of a number in the products."""
        return PRODUCT_BYTES[self.precision]

    def unit_seconds(self, size: ModelSize, unit: Work) -> float:
        """Time of one unit on one device."""
        rate = self.rates.at(size.hidden_size, self.precision)
        compute = self.rates.compute_seconds(unit.scoring_flops, unit.stepping_flops, rate)
        return compute + self.rates.storage_seconds(unit.read_bytes, unit.written_bytes)

    def finish_seconds(self, unit_seconds: Sequence[float]) -> float:
        """Time until the last of some units ends."""
        return last_end(unit_seconds, self.num_devices)

    def scoring_rows(self, m: MeasurementSize, *, listed: bool) -> int:
        """Rows of one scoring pass, as `Resident.scoring_budget` takes them."""
        size = m.size
        if self.rates.memory_bytes is None:
            return memory.cpu_scoring_rows(size)
        free = self.rates.memory_bytes - memory.resident_bytes(size, self.product_bytes)
        lists = m.list_size if listed else 0
        row = memory.scoring_bytes_per_row(size, self.product_bytes, lists)
        return max(1, int(SHARE_OF_MEMORY * free) // row)

    def sequences(self, m: MeasurementSize, *, listed: bool) -> int:
        """Sequences that are prepared together (`Scoring.positions`)."""
        positions = self.scoring_rows(m, listed=listed) // (TOP_K_SHARE if listed else 1)
        return max(1, positions // m.context)

    def step_rows(self, size: ModelSize) -> int:
        """Rows of one step's gradients, as `Resident.stepping_budget` takes them."""
        if self.rates.memory_bytes is None:
            return memory.cpu_stepping_rows(size)
        row = memory.stepping_bytes_per_row(size, self.product_bytes)
        free = self.rates.memory_bytes - memory.resident_bytes(size, self.product_bytes)
        return max(1, int(SHARE_OF_MEMORY * free) // row)

    def num_batches(self, m: MeasurementSize, num_seq: int, listed: bool) -> int:
        """Batches of sequences that a tile is computed in."""
        return math.ceil(num_seq / self.sequences(m, listed=listed))


def last_end(unit_seconds: Sequence[float], num_workers: int) -> float:
    """When the last of some units ends: they go to whoever is free, the longest first."""
    ends = [0.0] * num_workers
    for seconds in sorted(unit_seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def host_peak(
    m: MeasurementSize,
    stage: str,
    groups: Sequence[Group],
    chains: Sequence[Schedules],
    together: int = 1,
) -> int:
    """Host bytes of the largest unit of a stage: its arrays, and the model on its way.

    Args:
        m: the measurement.
        stage: which.
        groups: all groups.
        chains: schedules of all components, by chain.
        together: chains that step together.
    """
    model = FLOAT_BYTES * m.size.num_weights
    widest = max(len(group.components) for group in groups)
    num_tokens = max(m.shard_sizes) * m.context
    sums = 2 * len(chains) * num_tokens
    blocks = [
        block_bytes(m, c)
        for group in groups
        for c in group.components
        if not chains[0][c.name].independent
    ]
    moving = 2 * MAX_PENDING * max(blocks, default=0)  # blocks, and the same serialised
    if stage in ("pilot", "chains"):
        losses = widest * m.chain.draws_per_block * m.num_evaluation * m.context
        checkpoints = 0
        if stage == "chains":
            checkpoints = moving + _checkpoint_bytes(m, groups, chains[:together])
        return model + 2 * DOUBLE_BYTES * losses + checkpoints
    if stage == "tiles":
        return (
            model
            + moving
            + _held_bytes(m, groups, chains)
            + widest * sums * (DOUBLE_BYTES + FLOAT_BYTES)
        )
    columns = (m.num_columns + 1) * (FLOAT_BYTES * sums + 4 * DOUBLE_BYTES * num_tokens)
    return model + columns


def _held_bytes(m: MeasurementSize, groups: Sequence[Group], chains: Sequence[Schedules]) -> int:
    """Of each chain, the block in use and the next of each stepped component of a group."""
    return 2 * max(
        sum(
            block_bytes(m, component)
            for schedules in chains
            for component in group.components
            if not schedules[component.name].independent
        )
        for group in groups
    )


def _checkpoint_bytes(
    m: MeasurementSize, groups: Sequence[Group], chains: Sequence[Schedules]
) -> int:
    """Of the group where it is most: all states and first draws of the chains, and their object."""
    weights = [
        sum(m.size.weights_of(c) for c in group.components if not chains[0][c.name].independent)
        for group in groups
    ]
    return 2 * COPIES_OF_CHECKPOINT * FLOAT_BYTES * len(chains) * max(weights)


def block_bytes(m: MeasurementSize, component: Component) -> int:
    num_weights = m.size.weights_of(component)
    return kept_bytes(m) * num_weights * min(block_size(m, num_weights), m.chain.num_draws)
