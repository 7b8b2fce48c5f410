"""Time and peak memory of counted work on a device.

Time is arithmetic at the device's rates plus bytes at its storage's, one after the other. A
stage ends when its last unit does: units go to the first device that is free, the longest first.
Memory is the upper bound of models/cost/memory.py at the batch that the run would choose.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from spectro.models.components import FULL, Component, Group
from spectro.models.cost import memory
from spectro.models.cost.budget import CPU_ROWS, CPU_STEP_BYTES, SHARE_OF_MEMORY, draws_at_once
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
            return CPU_ROWS
        free = self.rates.memory_bytes - memory.resident_bytes(size, self.product_bytes)
        lists = m.list_size if listed else 0
        row = memory.scoring_bytes_per_row(size, self.product_bytes, lists)
        return max(1, int(SHARE_OF_MEMORY * free) // row)

    def sequences(self, m: MeasurementSize, *, listed: bool) -> int:
        """Sequences that are prepared together (`Scoring.positions`)."""
        positions = self.scoring_rows(m, listed=listed) // (TOP_K_SHARE if listed else 1)
        return max(1, positions // m.context)

    def num_batches(self, m: MeasurementSize, num_seq: int, listed: bool) -> int:
        """Batches of sequences that a tile is computed in."""
        return math.ceil(num_seq / self.sequences(m, listed=listed))


def last_end(unit_seconds: Sequence[float], num_workers: int) -> float:
    """When the last of some units ends: they go to whoever is free, the longest first."""
    ends = [0.0] * num_workers
    for seconds in sorted(unit_seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def scoring_peak(
    m: MeasurementSize, device: Device, group: Group, num_seq: int, *, listed: bool
) -> int:
    """Device bytes while some sequences are scored, the model included."""
    rows = device.scoring_rows(m, listed=listed)
    positions = min(num_seq, device.sequences(m, listed=listed)) * m.context
    resident = memory.resident_bytes(m.size, device.product_bytes)
    return resident + max(
        memory.scoring_bytes(
            m.size,
            [component],
            num_positions=positions,
            num_variants=draws_at_once(rows, positions, FLOAT_BYTES * m.size.weights_of(component)),
            list_size=m.list_size if listed else 0,
            product_bytes=device.product_bytes,
            device_type=device.type,
        )
        for component in group.components
    )


def clean_peak(m: MeasurementSize, device: Device, num_seq: int) -> int:
    """Device bytes while ℓ(w*) of some sequences is taken."""
    positions = min(num_seq, device.sequences(m, listed=False)) * m.context
    return memory.resident_bytes(m.size, device.product_bytes) + memory.scoring_bytes(
        m.size,
        [FULL],
        num_positions=positions,
        num_variants=0,
        product_bytes=device.product_bytes,
        device_type=device.type,
    )


def stepping_peak(
    m: MeasurementSize, device: Device, group: Group, chains: Sequence[Schedules]
) -> int:
    """Device bytes while some chains step: a micro-batch, and draws that are not stored yet."""
    stepped = [c for c in group.components if not chains[0][c.name].independent]
    if not stepped:
        return 0
    resident = memory.resident_bytes(m.size, device.product_bytes)
    waiting = len(chains) * sum(_block_bytes(m, c) for c in stepped)
    step = memory.stepping_bytes(
        m.size,
        stepped,
        num_positions=_micro_batch(m, device, stepped, len(chains), resident) * m.context,
        num_chains=len(chains),
        product_bytes=device.product_bytes,
        device_type=device.type,
    )
    return resident + 2 * waiting + step


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
        _block_bytes(m, c)
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
            _block_bytes(m, component)
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


def _block_bytes(m: MeasurementSize, component: Component) -> int:
    num_weights = m.size.weights_of(component)
    return kept_bytes(m) * num_weights * min(block_size(m, num_weights), m.chain.num_draws)


def _micro_batch(
    m: MeasurementSize, device: Device, stepped: Sequence[Component], num_chains: int, resident: int
) -> int:
    """Sequences of one micro-batch of all minibatches, as `stepping_budget` allows."""
    most = num_chains * m.chain.batch_size
    row = memory.stepping_bytes_per_row(m.size, device.product_bytes)
    if device.rates.memory_bytes is None:
        rows = CPU_STEP_BYTES // row
    else:
        rows = int(SHARE_OF_MEMORY * (device.rates.memory_bytes - resident)) // row
    return min(most, max(1, rows // (m.context * len(stepped))))
