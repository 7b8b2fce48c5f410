"""Peak memory of a device in each stage: the largest of the moments that follow each other.

A chain has two: a step, with the draws that are not stored yet beside it, and ΔL of its draws on
the evaluation set, beside the old and the new states. What scoring and a step hold is counted by
their real calls (call_memory.py), at the batch that the run would choose.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import cast

from spectro.models.components import ComponentKind, Group
from spectro.models.cost import memory
from spectro.planning.call_memory import (
    CallShape,
    clean_bytes,
    scoring_bytes,
    state_bytes,
    step_bytes,
)
from spectro.planning.device_costs import DOUBLE_BYTES, Device, block_bytes
from spectro.planning.schedules import Schedules
from spectro.planning.unit_work import MeasurementSize
from spectro.sampling.mala import Mala
from spectro.sampling.pilot.pilot_sizes import NUM_JUDGING_DRAWS
from spectro.sampling.reweighted import Sampler
from spectro.sampling.samplers import Gaussian

CUDA_BYTES = 10**9
"""CUDA's context, workspaces of its libraries, gaps between tensors: assumed."""


def widest_groups(groups: Sequence[Group]) -> list[Group]:
    """Of layers with the same kinds of components the lowest, with most layers above; the rest."""
    found: dict[tuple[tuple[ComponentKind, str], ...], Group] = {}
    for group in groups:
        kinds = tuple(component.shape_kind for component in group.components)
        known = found.setdefault(kinds, group)
        if (group.components[0].layer or 0) < (known.components[0].layer or 0):
            found[kinds] = group
    return list(found.values())


def scoring_peak(
    m: MeasurementSize,
    device: Device,
    group: Group,
    num_seq: int,
    *,
    listed: bool,
    num_sums: int = 0,
) -> int:
    """Device bytes while some sequences are scored, the model included.

    Args:
        m, device, group: what is scored, where.
        num_seq: of the shard, or of the evaluation set.
        listed: whether losses are taken by a top-K softmax.
        num_sums: chains, times the sets of weights of each, whose running sums are taken.
    """
    together = min(num_seq, device.sequences(m, listed=listed))
    call = _call(m, device, device.scoring_rows(m, listed=listed))
    sums = 2 * DOUBLE_BYTES * num_sums * len(group.components) * together * m.context
    lists = m.list_size if listed else 0
    num_draws = len(group.components) * max(
        NUM_JUDGING_DRAWS, m.chain.num_chains * m.chain.num_draws
    )
    of_kind = {component.shape_kind: component for component in group.components}
    return (
        _resident(m, device)
        + sums
        + max(
            scoring_bytes(call, component, together, lists, num_draws)
            for component in of_kind.values()
        )
    )


def clean_peak(m: MeasurementSize, device: Device, num_seq: int) -> int:
    """Device bytes while ℓ(w*) of some sequences is taken."""
    call = _call(m, device, device.scoring_rows(m, listed=False))
    together = min(num_seq, device.sequences(m, listed=False))
    return _resident(m, device) + clean_bytes(call, together)


def stepping_peak(
    m: MeasurementSize,
    device: Device,
    group: Group,
    chains: Sequence[Schedules],
    sampler: Sampler,
    *,
    rows: int | None = None,
) -> int:
    """Device bytes while some chains step, and while ΔL of their draws is taken.

    Args:
        m, device, group: what steps, where.
        chains: those that step together.
        sampler: its update rule.
        rows: of a micro-batch; None: as many as the run would take.
    """
    stepped = [c for c in group.components if not chains[0][c.name].independent]
    if not stepped or isinstance(sampler, Gaussian):
        return 0
    call = _call(m, device, rows or device.step_rows(m.size))
    num_seq = m.num_evaluation if isinstance(sampler, Mala) else m.chain.batch_size
    rule = cast(Hashable, sampler)  # a frozen dataclass
    step = step_bytes(call, tuple(stepped), rule, num_seq, len(chains))
    pending = sum(block_bytes(m, component) for component in stepped)
    states = sum(state_bytes(call, component, sampler) for component in stepped)
    own = Group(name=group.name, components=tuple(stepped))
    listed = m.list_size > 0 and any(chains[0][c.name].listed for c in stepped)
    evaluation = scoring_peak(m, device, own, m.num_evaluation, listed=listed)
    waiting = len(chains) * pending
    resident = _resident(m, device)
    return waiting + max(resident + step, 2 * len(chains) * states + pending + evaluation)


def _resident(m: MeasurementSize, device: Device) -> int:
    """The model, and what a device holds before anything is computed."""
    context = CUDA_BYTES if device.type == "cuda" else 0
    return context + memory.resident_bytes(m.size, device.product_bytes)


def _call(m: MeasurementSize, device: Device, rows: int) -> CallShape:
    return CallShape(
        size=m.size,
        precision=device.precision,
        device_type=device.type,
        context=m.context,
        rows=rows,
    )
